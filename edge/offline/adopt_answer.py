"""What an exported network answers, found by running it: which output is the map, which the frame's score."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.engines.session import ENGINES, READS, Floats, installed, open_session
from edge.errors import BundleError, EdgeError, EngineError, MissingExtra
from edge.golden import golden_batch
from edge.offline.adopt_input import Shape
from edge.offline.adopt_wanted import Wanted
from edge.offline.anomalib import MAP, SCORE, Export, Generation
from edge.offline.foreign import Answer, Network
from edge.offline.pack import golden_frame
from edge.vision.image import InputRule


@dataclass
class Plan:
    """The network on its way, with its front. limits: what the export itself says of thresholds, and how it came to be
    known. bounded: answers lie in 0..1."""

    network: Network
    made_by: Generation | None
    shape: Shape
    rule: InputRule
    limits: dict[str, tuple[float, str]]
    bounded: bool
    notes: list[str]


def _probe(plan: Plan, where: Path) -> dict[str, Floats]:
    """Every output for one picture, from the first engine that opens the graph; an ONNX graph that only OpenVINO opens
    goes on as OpenVINO's. Raises EngineError naming each engine's reason."""
    batch = golden_batch(golden_frame(plan.rule, 1), plan.rule)
    graph, weights = plan.network.dump()
    whys = []
    for engine in ENGINES:
        if plan.network.form not in READS[engine] or not installed(engine):
            continue
        try:
            with closing(open_session(engine, graph, 2, "cpu", weights)) as session:
                answers = [np.array(out) for out in session.run(batch)]
        except EdgeError as error:
            whys.append(f"{engine}: {str(error).strip()}")
            continue
        names = plan.network.answers()
        if plan.network.form == "onnx" and engine == "openvino":
            from edge.offline.foreign_openvino import OpenvinoNetwork

            plan.network = OpenvinoNetwork(graph, b"", where)
            why = "; ".join(whys) or "ONNX Runtime is not here"
            plan.notes.append(f"only OpenVINO opens it, so the bundle holds OpenVINO's own format; {why}")
        return dict(zip(names, answers, strict=True))
    if not whys:
        raise MissingExtra(
            "openvino" if plan.network.form == "openvino" else "onnxruntime", "all", f"importing {where}"
        )
    raise EngineError(f"no engine here opens {where}{_suspects(plan.network)}: {'; '.join(whys)}")


def _suspects(network: Network) -> str:
    if network.form != "onnx":
        return ""
    from edge.offline.foreign_onnx import OnnxNetwork

    unknown = network.unknown_operators() if isinstance(network, OnnxNetwork) else []
    return f", whose nodes {', '.join(unknown[:3])} are no operators of ONNX" if unknown else ""


def choose_answers(plan: Plan, export: Export, wanted: Wanted) -> list[Answer]:
    """Which outputs are the map and the score, by name where one is given, else as anomalib orders them. Raises
    BundleError naming every output and its shape."""
    found = _probe(plan, export.graph)
    maps = [name for name, out in found.items() if _is_map(out)]
    scores = [name for name, out in found.items() if out.size == 1 and out.dtype.kind == "f"]
    listed = ", ".join(f"{name} {out.dtype} {out.shape}" for name, out in found.items())
    for option, name, fit in (("map", wanted.map_output, maps), ("score", wanted.score_output, scores)):
        if name is not None and name not in fit:
            raise BundleError(f"{export.graph}: --{option}-output {name} is no {option}; its outputs: {listed}")
    anomalib = plan.made_by is not None
    first = MAP if MAP in maps else maps[0] if maps and (anomalib or len(maps) == 1) else None
    chosen = wanted.map_output or first
    if chosen is None:
        amiss = (
            "several outputs may be the map; name it with --map-output" if maps else "no output is a map (n, 1, h, w)"
        )
        raise BundleError(f"{export.graph}: {amiss}. Its outputs: {listed}")
    only = scores[0] if anomalib and len(scores) == 1 else None
    score = wanted.score_output or (SCORE if SCORE in scores else only)
    left = [name for name in found if name not in (chosen, score)]
    if left:
        plan.notes.append(f"outputs cut off: {', '.join(left)}")
    return [_answer(plan, chosen, "map", found[chosen])] + (
        [_answer(plan, score, "score", found[score])] if score else []
    )


def _is_map(out: Floats) -> bool:
    """One value a place: two sides of more than 1, all others 1, as in `(1, 1, h, w)`, `(1, h, w)`, `(1, h, w, 1)`."""
    large = [side for side in out.shape if side > 1]
    return out.dtype.kind == "f" and len(large) == 2 and out.ndim <= 4


def _answer(plan: Plan, name: str, role: str, out: Floats) -> Answer:
    batch, size, centre = plan.shape.batch, plan.shape.size, plan.shape.centre
    if role == "score":
        return Answer(name, role, (1,), batch, out.shape == (1, 1) and out.dtype == np.float32)
    height, width = (side for side in out.shape if side > 1)
    if centre == size:
        same = out.shape == (1, 1, height, width) and out.dtype == np.float32
        return Answer(name, role, (1, height, width), batch, same)
    (left, right), (top, bottom) = _border(size[0], centre[0], width), _border(size[1], centre[1], height)
    sides = (1, height + top + bottom, width + left + right)
    return Answer(name, role, sides, batch, as_it_is=False, border=(top, left, bottom, right))


def _border(whole: int, centre: int, cells: int) -> tuple[int, int]:
    """Cells of a map that its rim has before and after it, where it covers the middle `centre` of `whole` pixels."""
    before = (whole - centre) // 2
    after = whole - centre - before
    if before * cells % centre or after * cells % centre:
        raise BundleError(f"a map of {cells} places over the middle {centre} of {whole} pixels has no whole rim")
    return before * cells // centre, after * cells // centre
