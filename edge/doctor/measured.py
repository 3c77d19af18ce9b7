"""Which graph of each bundle is used on this box, by measurement, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

from edge.bundle import Bundle, Graph
from edge.doctor.diagnosis import Diagnosis
from edge.engines.choose import NO_ANSWER, Row, cache_folder
from edge.engines.session import Engine


def graphs(bundle: Bundle, rows: Sequence[Row], chosen: tuple[Engine, Graph]) -> list[Diagnosis]:
    """The chosen graph, each INT8 graph that is no faster than FP32 on its engine, each that could not run.

    rows: what was measured, perhaps of a bundle with more graphs whose network this one borrows.
    """
    known: dict[str, str] = {graph.file: graph.precision for graph in bundle.manifest.graph}
    own = [row for row in rows if row.file in known]
    ms = fastest(own, known)
    name = f"graph {bundle.path.name}"
    told = [_used(name, chosen, own, ms)]
    for engine in dict.fromkeys(row.engine for row in own):
        int8, fp32 = ms.get((engine, "int8")), ms.get((engine, "fp32"))
        if int8 is not None and fp32 is not None and int8 >= fp32:
            found = f"INT8 is {fp32 / int8:.2g}x as fast as FP32 on {engine} here: not used"
            told.append(Diagnosis(name, "note", found))
    return told + [_failed(name, row) for row in rows if row.why]


def _failed(name: str, row: Row) -> Diagnosis:
    late = row.why.startswith(NO_ANSWER)
    advice = f"edge verify --warm builds its kernels; then delete {cache_folder()}/choice-*" if late else ""
    return Diagnosis(name, "warning", f"{row.engine} {row.file}: {row.why}", advice)


def fastest(rows: Sequence[Row], precisions: dict[str, str]) -> dict[tuple[Engine, str], float]:
    """Milliseconds of each engine's fastest graph of a precision. precisions: by file."""
    ms: dict[tuple[Engine, str], float] = {}
    for row in rows:
        if row.ms is not None:
            key = row.engine, precisions[row.file]
            ms[key] = min(row.ms, ms.get(key, row.ms))
    return ms


def _used(
    name: str, chosen: tuple[Engine, Graph], rows: Sequence[Row], ms: dict[tuple[Engine, str], float]
) -> Diagnosis:
    """Milliseconds of a frame where the graph is the bundle's own: of a borrowed one the lender's frame was timed."""
    engine, graph = chosen
    spent = {(row.engine, row.file): row.ms for row in rows}.get((engine, graph.file))
    found = f"{engine} {graph.file} is used"
    found += f": {spent:.3g} ms" if spent is not None and graph.bundle is None else ""
    int8, fp32 = ms.get((engine, "int8")), ms.get((engine, "fp32"))
    if graph.precision == "int8" and int8 and fp32:
        found += f", {fp32 / int8:.2g}x as fast as FP32"
    return Diagnosis(name, "ok", found)
