"""Where threads run on a box, or a share of one, that has no more cores than there are threads.

The kernel of a virtual machine takes a core that sleeps for one that its host has taken away, and puts a thread that is
woken on the core of the one that woke it: both then share it until long after the frame, and two threads take longer
than one. So whoever calls ONNX Runtime or LiteRT has the first core to itself, and the engine's own threads the others;
OpenVINO sees to it itself. Which cores a process may use is asked when engines are opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

Cores = frozenset[int]
ANY: Cores = frozenset()


def shared_out(threads: int) -> tuple[Cores, Cores]:
    """The core of who calls, and those of the threads that help; ANY where there are more cores than threads, or one:
    the kernel knows better then."""
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 < len(allowed) <= threads:
        return ANY, ANY
    return frozenset(allowed[:1]), frozenset(allowed[1:])


@contextmanager
def on(cores: Cores) -> Iterator[None]:
    """This thread runs there meanwhile; threads that it starts meanwhile, for good. Where that is refused, anywhere."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
