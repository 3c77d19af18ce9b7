"""Who calls an engine and the engine's own threads do not share a core where there are no more than they."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from edge.engines.cores import ANY, on, shared_out
from edge.engines.session import Engine, installed


def may_move() -> bool:
    """A container may forbid it, or have one core alone."""
    with suppress(OSError):
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        return len(os.sched_getaffinity(0)) > 1
    return False


TWO = pytest.mark.skipif(not may_move(), reason="this box has one core for us, or lets no thread choose its own")


def test_where_there_are_more_cores_than_threads_the_kernel_chooses() -> None:
    assert shared_out(len(os.sched_getaffinity(0)) - 1) == (ANY, ANY)


@TWO
def test_the_caller_has_the_first_core_and_the_helpers_the_others() -> None:
    cores = sorted(os.sched_getaffinity(0))
    assert shared_out(len(cores)) == (frozenset(cores[:1]), frozenset(cores[1:]))
    assert shared_out(len(cores) + 3) == shared_out(len(cores))


@TWO
def test_one_core_is_nobodys_own() -> None:
    with on(frozenset(sorted(os.sched_getaffinity(0))[:1])):
        assert shared_out(2) == (ANY, ANY)


@TWO
def test_a_thread_is_where_it_was_afterwards() -> None:
    before = os.sched_getaffinity(0)
    with suppress(ValueError), on(shared_out(len(before))[0]):
        assert os.sched_getaffinity(0) == set(sorted(before)[:1])
        raise ValueError
    assert os.sched_getaffinity(0) == before


def test_a_core_that_is_not_there_is_not_insisted_on() -> None:
    before = os.sched_getaffinity(0)
    with on(frozenset({1000})):
        assert os.sched_getaffinity(0) == before


@TWO
@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_an_engine_on_two_cores_leaves_the_first_to_its_caller(engine: Engine, exported_models: Path) -> None:
    if not installed(engine):
        pytest.skip(f"{engine} is not installed")
    script = f"""
import json, os
from pathlib import Path
import numpy as np
cores = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, cores)
from edge.bundle import open_bundle
from edge.engines.session import open_graph, readable
threads = lambda: set(map(int, os.listdir("/proc/self/task")))
bundle = open_bundle(Path({str(exported_models / "gate")!r}))
graph = next(graph for graph in readable({engine!r}, bundle.manifest.graph) if graph.precision == "fp32")
before = threads()
session = open_graph({engine!r}, bundle, graph, 2, "cpu")
meanwhile, run = [], session._run
session._run = lambda batch: (meanwhile.append(sorted(os.sched_getaffinity(0))), run(batch))[1]
session.run(np.zeros((1, 3, 224, 224), np.float32))
own = [sorted(os.sched_getaffinity(thread)) for thread in threads() - before]
print(json.dumps([cores, own, meanwhile, sorted(os.sched_getaffinity(0))]))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    cores, own, meanwhile, afterwards = json.loads(ended.stdout.splitlines()[-1])
    assert own == [[cores[1]]], "one thread of its own, on the second core"
    assert meanwhile == [[cores[0]]] and afterwards == cores
