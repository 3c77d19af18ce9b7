"""`tools/bench-rivals graph`: a bundle's graph by edge's session and by the engines' own measures, in paired runs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
from rich.table import Table

from edge.bundle import Bundle, Graph
from edge.engines.measure import example_batch
from edge.engines.processor import described
from edge.engines.session import Engine, readable
from edge.errors import BundleError, EngineError
from tools.rivals_child import Loop
from tools.rivals_ratio import CONFIDENCE, Answer, Ratio, fewest_pairs, ratio_of, verdict

ROOT = Path(__file__).resolve().parent.parent
Rival = Literal["benchmark_app", "plain", "spinning"]
Side = Literal["ours", "benchmark_app", "plain", "spinning"]
# Of each engine: what is compared, and whether the answer hangs on it. Spinning is what edge's sessions leave out.
RIVALS: dict[Engine, dict[Rival, bool]] = {
    "openvino": {"benchmark_app": True},
    "onnx": {"plain": True, "spinning": False},
}
MEANING: dict[Rival, str] = {
    "benchmark_app": "OpenVINO's benchmark_app, sync, one stream, f32, same threads",
    "plain": "InferenceSession.run in a loop, as onnxruntime_perf_test -D; its binary is not in the wheel",
    "spinning": "the same with ONNX Runtime's threads spinning, its own default; told, not judged",
}
BENCHMARK_APP = "from openvino.tools.benchmark.main import main; main()"
START_S = 120.0
Tell = Callable[[str, int], None]  # what is being run, and how many runs are done


class Compared(msgspec.Struct, frozen=True):
    """One rival. ours_ms, rival_ms: of each pair. answer: None where it is told and not judged."""

    engine: Engine
    rival: Rival
    what: str
    ours_ms: list[float]
    rival_ms: list[float]
    ratio: Ratio
    answer: Answer | None


class GraphReport(msgspec.Struct, frozen=True, kw_only=True):
    bundle: str
    file: str
    shape: tuple[int, ...]
    threads: int
    seconds: float
    percentile: int
    within: float
    processor: str
    versions: dict[str, str]
    rows: list[Compared]
    answer: Answer


def pick_graph(bundle: Bundle, file: str | None) -> Graph:
    """The one of this name, or the FP32 ONNX graph, which both engines read. Raises BundleError, EngineError."""
    onnx = [g for g in bundle.manifest.graph if g.format == "onnx" and (g.file == file if file else True)]
    named = [g for g in onnx if file or g.precision == "fp32"]
    if not named:
        files = ", ".join(g.file for g in bundle.manifest.graph if g.format == "onnx") or "none"
        raise BundleError(f"{bundle.path} has no ONNX graph {file or 'of FP32'}; --graph takes one of: {files}")
    if not readable("onnx", named):
        raise EngineError(f"{named[0].file} is not run here: INT8 overflows on a processor without VNNI; give it FP32")
    return named[0]


def loop_of(bundle: Bundle, graph: Graph, engine: Engine, threads: int, seconds: float, percentile: int) -> Loop:
    """`ours`, on as many pictures as the session runs at once: a larger batch is cut into such turns."""
    shape = (bundle.manifest.input.at_once, *example_batch(bundle).shape[1:])
    path = bundle.where(graph).resolve()
    return Loop("ours", engine, str(bundle.path.resolve()), graph.file, str(path), shape, threads, seconds, percentile)


def run_child(loop: Loop) -> float:
    """Milliseconds. Raises EngineError with what the child said last."""
    said = _run([sys.executable, "-m", "tools.rivals_child"], loop.seconds, loop.to_json())
    return float(json.loads(said.splitlines()[-1])["ms"])


def run_benchmark_app(loop: Loop) -> float:
    """Milliseconds, as it prints them: to a hundredth. Raises EngineError with what it said last."""
    with tempfile.TemporaryDirectory() as folder:
        _run([sys.executable, "-c", BENCHMARK_APP, *benchmark_options(loop, folder)], loop.seconds)
        results = json.loads((Path(folder) / "benchmark_report.json").read_text())["execution_results"]
    (name,) = [name for name in results if name.startswith("latency")]
    return float(results[name])


def benchmark_options(loop: Loop, folder: str) -> list[str]:
    """One stream is the LATENCY hint's; the application takes no hint where threads are named."""
    shape = ",".join(map(str, loop.shape))
    options = f"-d CPU -hint none -nstreams 1 -api sync -nthreads {loop.threads} -infer_precision f32"
    options += f" -t {max(1, round(loop.seconds))} -shape [{shape}] -latency_percentile {loop.percentile}"
    return ["-m", loop.path, *options.split(), "-json_stats", "-report_type", "no_counters", "-report_folder", folder]


def _run(command: list[str], seconds: float, given: str = "") -> str:
    around = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, env=around, timeout=seconds + START_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{command[2]} gave no answer within {seconds + START_S:g} s") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise EngineError(f"{command[2]} ended with {done.returncode}: {' '.join(last)}")
    return done.stdout


def run_side(loop: Loop, side: Side) -> float:
    return run_benchmark_app(loop) if side == "benchmark_app" else run_child(replace(loop, who=side))


def order(sides: Sequence[Side], pairs: int) -> Iterator[Side]:
    """Each pair has all of them once, every other one in reverse, so that a drift favours none."""
    for number in range(pairs):
        yield from sides if number % 2 == 0 else reversed(sides)


def compare_engine(
    loop: Loop, engine: Engine, pairs: int, within: float, tell: Callable[[str], None]
) -> list[Compared]:
    rivals = RIVALS[engine]
    sides: list[Side] = ["ours", *rivals]
    taken: dict[Side, list[float]] = {side: [] for side in sides}
    for side in order(sides, pairs):
        tell(f"{engine}: {side}")
        taken[side].append(run_side(loop, side))
    rows = []
    for rival, judged in rivals.items():
        found = ratio_of(taken["ours"], taken[rival])
        answer = verdict(found, within) if judged else None
        rows.append(Compared(engine, rival, MEANING[rival], taken["ours"], taken[rival], found, answer))
    return rows


def together(answers: list[Answer]) -> Answer:
    """DIFFER where one does, AGREE where all do."""
    worst: tuple[Answer, ...] = ("DIFFER", "UNSURE", "AGREE")
    return next(answer for answer in worst if answer in answers)


def compare_graph(
    bundle: Bundle,
    graph: Graph,
    engines: list[Engine],
    *,
    threads: int,
    pairs: int,
    seconds: float,
    percentile: int,
    within: float,
    tell: Tell,
) -> GraphReport:
    """Raises BundleError for a graph that was altered, EngineError where one of the two sides cannot run it."""
    bundle.read(graph)
    rows: list[Compared] = []
    done = itertools.count()
    for engine in engines:
        loop = loop_of(bundle, graph, engine, threads, seconds, percentile)
        rows += compare_engine(loop, engine, pairs, within, lambda what: tell(what, next(done)))
    return GraphReport(
        bundle=bundle.manifest.name,
        file=graph.file,
        shape=loop.shape,
        threads=threads,
        seconds=seconds,
        percentile=percentile,
        within=within,
        processor=described(),
        versions={name: version(name) for name in ("onnxruntime", "openvino")},
        rows=rows,
        answer=together([row.answer for row in rows if row.answer]),
    )


def graph_table(report: GraphReport) -> Table:
    shape = " x ".join(map(str, report.shape))
    title = f"{report.bundle} {report.file}, {shape}, {report.threads} threads, p{report.percentile} in ms"
    table = Table("engine", "beside", "ours", "its own", "ours / its own", "95 % of it", "", title=title)
    for row in report.rows:
        between = "-" if row.ratio.low is None else f"{row.ratio.low:.3f} to {row.ratio.high:.3f}"
        table.add_row(
            row.engine,
            row.rival,
            f"{min(row.ours_ms):.2f} to {max(row.ours_ms):.2f}",
            f"{min(row.rival_ms):.2f} to {max(row.rival_ms):.2f}",
            f"{row.ratio.ratio:.3f}",
            between,
            row.answer or "told",
        )
    return table


def remarks(report: GraphReport) -> list[str]:
    """What each row stands beside, and what would make it sure."""
    said = [f"{row.rival}: {row.what}" for row in report.rows]
    if any(row.ratio.low is None for row in report.rows):
        said.append(f"{fewest_pairs()} pairs are the fewest that can say so with {CONFIDENCE:.0%} confidence: --pairs")
    elif report.answer == "UNSURE":
        said.append(f"the interval reaches over {report.within:.0%}: give more --pairs or --seconds, or a calmer box")
    return said
