"""`tools/bench-rivals graph`: a bundle's graph by edge's session and by the engines' own measures, in paired runs."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
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
from tools.rivals_turns import SLICE_S, Command, in_turns

Rival = Literal["benchmark_app", "plain", "spinning"]
Side = Literal["ours", "benchmark_app", "plain", "spinning"]
# Of each engine: what is compared, and whether the answer hangs on it. Spinning is what edge's sessions leave out.
RIVALS: dict[Engine, dict[Rival, bool]] = {
    "openvino": {"benchmark_app": True},
    "onnx": {"plain": True, "spinning": False},
}
MEANING: dict[Rival, str] = {
    "benchmark_app": "OpenVINO's benchmark_app, sync, one stream, f32, same threads",
    "plain": "InferenceSession.run in a loop, as onnxruntime_perf_test; its binary is not in the wheel",
    "spinning": "the same with ONNX Runtime's threads spinning on, its own default; told, not judged",
}
BENCHMARK_APP = "from openvino.tools.benchmark.main import main; main()"
START_S = 120.0
RUNS_A_TURN = 10  # at least
STOPPED = "stopped before all pairs were run"
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
    failed: list[str]  # why pairs or a whole engine are missing
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
    path = bundle.where(bundle.runs(graph)).resolve()
    return Loop("ours", engine, str(bundle.path.resolve()), graph.file, str(path), shape, threads, seconds, percentile)


def command_of(loop: Loop, side: Side, folder: Path) -> Command:
    """folder: where benchmark_app leaves its report."""
    if side != "benchmark_app":
        return Command(side, [sys.executable, "-m", "tools.rivals_child"], replace(loop, who=side).to_json())
    return Command(side, [sys.executable, "-c", BENCHMARK_APP, *benchmark_options(loop, folder)])


def milliseconds(side: Side, printed: str, folder: Path) -> float:
    """benchmark_app's are rounded to a hundredth, as it writes them."""
    if side != "benchmark_app":
        return float(json.loads(printed.splitlines()[-1])["ms"])
    try:
        results = json.loads((folder / "benchmark_report.json").read_text())["execution_results"]
        (name,) = [name for name in results if name.startswith("latency")]
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"benchmark_app left no report of its latency: {error}") from error
    return float(results[name])


def benchmark_options(loop: Loop, folder: Path) -> list[str]:
    """One stream is the LATENCY hint's; the application takes no hint where threads are named."""
    shape = ",".join(map(str, loop.shape))
    options = f"-d CPU -hint none -nstreams 1 -api sync -nthreads {loop.threads} -infer_precision f32"
    options += f" -t {max(1, round(loop.seconds))} -shape [{shape}] -latency_percentile {loop.percentile}"
    report = ["-json_stats", "-report_type", "no_counters", "-report_folder", str(folder)]
    return ["-m", loop.path, *options.split(), *report]


def run_pair(loop: Loop, sides: Sequence[Side], slice_s: float = SLICE_S) -> list[float]:
    """Milliseconds of each side, run in turns. Raises EngineError with what one said last."""
    loop = replace(loop, seconds=loop.seconds * len(sides))  # a clock runs on while its process stands still
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        printed = in_turns([command_of(loop, side, folder) for side in sides], loop.seconds + START_S, slice_s)
        return [milliseconds(side, text, folder) for side, text in zip(sides, printed, strict=True)]


def compare_engine(
    loop: Loop, engine: Engine, pairs: int, within: float, tell: Callable[[str], None]
) -> tuple[list[Compared], str]:
    """The rows of the pairs that were run, and what stopped it before all were."""
    rivals = RIVALS[engine]
    sides: list[Side] = ["ours", *rivals]
    taken: list[list[float]] = []
    why = ""
    try:
        slice_s = SLICE_S
        while len(taken) < pairs:
            tell(f"{engine}: pair {len(taken) + 1}")
            pair = run_pair(loop, sides, slice_s)
            if not taken and RUNS_A_TURN * max(pair) / 1e3 > slice_s:  # each turn's end cuts a run in two
                slice_s = RUNS_A_TURN * max(pair) / 1e3
            else:
                taken.append(pair)
    except EngineError as error:
        why = f"{engine}: {error}"
    except KeyboardInterrupt:
        why = STOPPED
    rows = []
    for place, (rival, judged) in enumerate(rivals.items(), start=1) if taken else ():
        ours, theirs = [pair[0] for pair in taken], [pair[place] for pair in taken]
        found = ratio_of(ours, theirs)
        answer = verdict(found, within) if judged else None
        rows.append(Compared(engine, rival, MEANING[rival], ours, theirs, found, answer))
    return rows, why


def together(answers: list[Answer]) -> Answer:
    """DIFFER where one does, AGREE where all do and there is one."""
    worst: tuple[Answer, ...] = ("DIFFER", "UNSURE", "AGREE")
    return next((answer for answer in worst if answer in answers), "UNSURE")


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
    """Whatever stops it, the pairs that were run are kept. Raises BundleError for a graph that was altered."""
    bundle.read(graph)
    rows: list[Compared] = []
    failed: list[str] = []
    done = itertools.count()
    for engine in engines:
        loop = loop_of(bundle, graph, engine, threads, seconds, percentile)
        found, why = compare_engine(loop, engine, pairs, within, lambda what: tell(what, next(done)))
        rows += found
        failed += [why] if why else []
        if why == STOPPED:
            break
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
        failed=failed,
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
    said = [*report.failed, *(f"{row.rival}: {row.what}" for row in report.rows)]
    if any(row.ratio.low is None for row in report.rows):
        said.append(f"{fewest_pairs()} pairs are the fewest that can say so with {CONFIDENCE:.0%} confidence: --pairs")
    elif report.answer == "UNSURE":
        said.append(f"the interval reaches over {report.within:.0%}: give more --pairs or --seconds, or a calmer box")
    return said
