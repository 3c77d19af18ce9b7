"""What of this box's processor decides whether INT8 is right on it, and which of its cores there are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# What multiplies INT8 into 32 bits at once: x86's, and ARM's dot products.
INT8_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


SPAN = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def cpu_list(words: str) -> list[int]:
    """The kernel's and systemd's `0-2,5` -> [0, 1, 2, 5]; empty for what is no such list."""
    found: list[int] = []
    for span in filter(None, words.strip().split(",")):
        match = SPAN.fullmatch(span)
        if match is None:
            return []
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def info(root: Path = Path("/")) -> dict[str, str]:
    """/proc/cpuinfo's first line of each name; empty where there is none."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = [line.split(":", 1) for line in reversed(lines) if ":" in line]
    return {name.strip(): value.strip() for name, value in pairs}


def features(root: Path = Path("/")) -> list[str]:
    """What the kernel lists of instructions, x86's or ARM's."""
    known = info(root)
    return (known.get("flags") or known.get("Features") or "").split()


def described(root: Path = Path("/")) -> str:
    """The model, and what it has that engines gain by."""
    shown = [name for name in ("avx2", *INT8_FEATURES) if name in features(root)]
    return f"{info(root).get('model name', 'model unknown')}: {', '.join(shown) or 'neither AVX2 nor VNNI'}"


@cache
def int8_overflows(root: Path = Path("/")) -> bool:
    """Whether ONNX Runtime and OpenVINO are not to run INT8 on this processor: an x86 one without VNNI.

    Their kernels add two products of unsigned by signed bytes in 16 bits there, and what does not fit is cut off
    (VPMADDUBSW; ONNX Runtime's and NNCF's documentation say so). On an EPYC of Zen 3 the gate's cells were off by 0.5
    of their deviation, and by 0.08 with VNNI. LiteRT's kernels multiply in 16 bits and add in 32, and are right on all.
    """
    x86 = info(root).get("flags", "").split()
    return bool(x86) and not any(name in x86 for name in INT8_FEATURES)
