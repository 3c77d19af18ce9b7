"""One run of the fuzzer: seeds that the real camera sends, the fuzzed process, and what it said."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import NamedTuple, get_args

import numpy as np

from edge.bus.camera import Camera, Encoding
from edge.bus.frames import FrameInlet
from edge.config import Limits
from edge.vision.image import Pixels

ROOT = Path(__file__).resolve().parent.parent
HANG_S = 5  # of one input; a read takes some ten microseconds, the rest is for what else the machine does
RESIDENT_MB = 512
LARGEST = 8192  # bytes of an input: more than a header may have
# "#10000 DONE cov: 141 ft: 402 corp: 87/21Kb lim: 4096 exec/s: 9000 rss: 95Mb"
STATE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+ .*rss: (\d+)Mb")


class State(NamedTuple):
    """A line of libFuzzer's."""

    runs: int
    edges: int
    features: int
    kept: int
    mb: int


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """runs: inputs that were read. edges, features, kept: what of edge's code they saw, and how many inputs saw
    something new. first_mb, last_mb: memory when the seeds were read, and in the end. wrong: empty where nothing was;
    else the last lines of what was said, with the input in the folder `found`."""

    runs: int
    edges: int
    features: int
    kept: int
    first_mb: int
    last_mb: int
    seconds: float
    wrong: str

    @property
    def grown_mb(self) -> int:
        return self.last_mb - self.first_mb


def can_fuzz() -> bool:
    """Atheris has wheels for x86-64 Linux alone."""
    return find_spec("atheris") is not None


def fuzz(runs: int, found: Path, say: Callable[[str], None], seed: int = 0) -> Fuzzed:
    """found: a folder for inputs that crash, hang or are kept in memory. seed: 0 draws one."""
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="z") as temporary:
        corpus = Path(temporary) / "seeds"
        corpus.mkdir()
        for number, data in enumerate(seeds(Path(temporary))):
            (corpus / str(number)).write_bytes(data)
        limits = [f"-timeout={HANG_S}", f"-rss_limit_mb={RESIDENT_MB}", f"-max_len={LARGEST}"]
        command = [sys.executable, "-m", "tools.fuzz_target", str(corpus), f"-runs={runs}", f"-seed={seed}", *limits]
        began = time.monotonic()
        states, said, code = _watch([*command, f"-artifact_prefix={found}/"], say)
    last = states[-1] if states else State(0, 0, 0, 0, 0)
    first = next((state for state in states if state.edges), last)
    short = "" if last.runs >= runs else f"it ended after {last.runs} of {runs} inputs"
    wrong = "\n".join(said[-20:]) or short if code or short else ""
    return Fuzzed(last.runs, last.edges, last.features, last.kept, first.mb, last.mb, time.monotonic() - began, wrong)


def _watch(command: list[str], say: Callable[[str], None]) -> tuple[list[State], list[str], int]:
    """libFuzzer's states, its other lines, its exit code."""
    states, said = list[State](), list[str]()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None  # stdout=PIPE
        for line in child.stdout:
            if match := STATE.search(line):
                states.append(State(*map(int, match.groups())))
                if "pulse" in line or "DONE" in line:
                    say(line.strip())
            elif not line.startswith(("INFO:", "WARNING:", "\tNEW_FUNC", "NEW_FUNC")):
                said.append(line.rstrip())
    return states, said, child.returncode


def seeds(folder: Path) -> Iterator[bytes]:
    """As `tests.bus.one_message.one_input` takes them: what the daemon's own socket got from the real camera, in each
    encoding and pixel format; and a topic."""
    address, pictures = f"ipc://{folder}/frames", list(_pictures())
    with closing(FrameInlet(address, Limits())) as inlet:
        inlet.open("l")
        camera = Thread(target=_send, args=(address, pictures))
        camera.start()
        for _ in pictures:
            while not inlet.poll(100):
                pass
            topic, header, data = inlet.receive()
            yield len(header).to_bytes(2, "big") + bytes(header) + bytes(data)
        camera.join()
    yield bytes(topic)


def _send(address: str, pictures: list[tuple[Pixels, Encoding]]) -> None:
    with closing(Camera(address, "l", "c")) as camera:
        for number, (pixels, encoding) in enumerate(pictures):
            camera.send(pixels, f"t{number}", "p", encoding, 200.0)


def _pictures() -> Iterator[tuple[Pixels, Encoding]]:
    draw = np.random.default_rng(1)
    encodings: tuple[Encoding, ...] = get_args(Encoding)
    for shape in ((8, 8), (8, 8, 3)):
        grey = draw.integers(0, 255, shape)
        for encoding in encodings:
            yield grey.astype(np.uint8), encoding
            if encoding != "jpeg":  # it holds 8 bits
                yield grey.astype(np.uint16), encoding
