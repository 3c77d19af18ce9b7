"""The fuzzed process: Atheris turns inputs over, edge reads them (internal).

    python -m tools.fuzz_target SEEDS -runs=10000 ...      libFuzzer's own options

What edge's code does with an input is seen by its bytecode, so that inputs which come further are kept and changed on.
msgspec's decoder is C and shows nothing: half of the changes are therefore made to a header's fields, not to its bytes.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import atheris
import msgpack

with atheris.instrument_imports(include=["edge.bus.frames", "edge.bus.picture_size"]):
    import edge.bus.frames
    import edge.bus.picture_size  # noqa: F401  # seen only where it is imported here

from edge.bus.frames import PIXEL_FORMATS
from edge.records import FrameHeader
from tests.bus.one_message import one_input

GROWN_BYTES = 16 << 20
LOOK = 2048  # inputs between two looks at the memory
WARM_UP = 5 * LOOK
SIDES = (0, 1, 3, 8, 255, 1 << 10, 1 << 20, 1 << 31, 1 << 63)
VALUES: list[Any] = [
    *(-1, 0, 1, 64, 192, 1 << 31, (1 << 64) - 1, 1.5, float("nan"), None, True, "", "t" * 300, b"\xff", [], {}),
    *("raw", "png", "jpeg", "uint8", "uint16", *PIXEL_FORMATS),
    *([h, w] for h in SIDES for w in SIDES),
    *([h, w, 3] for h in SIDES for w in SIDES),
]


class MemoryGrownError(Exception):
    """Nothing of what was read may stay."""


class Watched:
    """`one_input`, and a look at the process's memory now and then."""

    def __init__(self) -> None:
        self.inputs = self.first = self.grown = 0

    def __call__(self, data: bytes) -> None:
        one_input(data)
        self.inputs += 1
        if self.inputs % LOOK == 0 and self.inputs >= WARM_UP:
            now = resident()
            self.first = self.first or now
            self.grown = max(self.grown, now - self.first)
            if self.grown > GROWN_BYTES:
                raise MemoryGrownError(f"{self.grown} bytes more after {self.inputs} inputs")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def changed(data: bytes, most: int, seed: int) -> bytes:
    """Another input: bytes turned over, or a field of the header given another value and the sizes made to agree."""
    draw = random.Random(seed)
    length = int.from_bytes(data[:2], "big")
    claims = read(data[2 : 2 + length])
    if claims is None or draw.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    pixels = data[2 + length :]
    if draw.random() < 0.5:
        pixels = bytes(atheris.Mutate(pixels, max(1, most - 2 - length)))
        claims |= {"nbytes": len(pixels), "crc32c": None}
    else:
        claims[draw.choice(FrameHeader.__struct_fields__)] = draw.choice(VALUES)
        claims["nbytes"] = draw.choice([claims.get("nbytes"), len(pixels)])
    header = msgpack.packb(claims)
    return b"".join((len(header).to_bytes(2, "big"), header, pixels))[:most]


def read(header: bytes) -> dict[str, Any] | None:
    try:
        claims = msgpack.unpackb(header)
    except Exception:  # noqa: BLE001  # msgpack raises whatever it likes; these bytes are turned over as they are
        return None
    return claims if isinstance(claims, dict) and all(isinstance(key, str) for key in claims) else None


def main() -> None:
    atheris.Setup(sys.argv, Watched(), custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
