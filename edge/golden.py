"""The golden frame of a bundle: does a graph give here what it gave where it was made?"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Graph, Precision
from edge.engines.session import Floats, Session
from edge.errors import BundleError
from edge.vision.image import WHOLE, InputRule, prepare
from edge.vision.patches import cut

GOLDEN_PATCHES = 4

# Share of the expected values' range.
TOLERANCE: dict[Precision, float] = {"fp32": 0.02, "fp16": 0.05, "int8": 0.10}


def golden_batch(frame: NDArray[np.uint8], rule: InputRule) -> Floats:
    """What a graph is given for the golden frame: `(n, c, h, w)`; its views whatever the tiles, as a bundle that lends
    its network has no other; the first patches where the rule cuts any."""
    batch = prepare(frame, msgspec.structs.replace(rule, tiles=WHOLE))
    return cut(batch[0, 0], rule.patch, rule.stride)[:GOLDEN_PATCHES] if rule.patch else batch


def golden_key(graph: Graph, output: str) -> str:
    return f"{graph.file}/{output}"


def check_golden(bundle: Bundle, graph: Graph, session: Session) -> float:
    """Read the golden frame and run it, as `compare_golden` does. Raises BundleError, EngineError."""
    return compare_golden(bundle, graph, session, *read_golden(bundle, graph))


def compare_golden(
    bundle: Bundle, graph: Graph, session: Session, frame: NDArray[np.uint8], expected: list[Floats]
) -> float:
    """The largest difference from the expected outputs, as a share of their range.

    Raises BundleError where the outputs contradict the manifest or are further away than TOLERANCE, EngineError.
    """
    outputs, names = session.run(golden_batch(frame, bundle.manifest.input)), bundle.manifest.outputs
    where = f"{bundle.where(graph)} on {session.engine}"
    if bundle.runs(graph) is not graph and len(outputs) == 1:
        names, expected = names[-1:], expected[-1:]
    _check_shapes(where, names, outputs, expected)
    error = _error_share(outputs, expected)
    allowed = TOLERANCE[graph.precision]
    if not error <= allowed:  # also catches NaN
        raise BundleError(f"{where}: the golden frame is off by {error:.1%} of its range, {allowed:.0%} is allowed")
    return error


def read_golden(bundle: Bundle, graph: Graph) -> tuple[NDArray[np.uint8], list[Floats]]:
    """The frame `(h, w)` and the graph's expected outputs. Raises BundleError."""
    names = ["frame", *(golden_key(graph, output) for output in bundle.manifest.outputs)]
    arrays = bundle.read_arrays(bundle.manifest.golden, names)
    lacking = [name for name in names if name not in arrays]
    if lacking:
        raise BundleError(f"{bundle.where(bundle.manifest.golden)} lacks {', '.join(lacking)}; make it anew")
    return arrays["frame"].astype(np.uint8), [arrays[name].astype(np.float32) for name in names[1:]]


def _check_shapes(where: str, names: tuple[str, ...], outputs: tuple[Floats, ...], expected: list[Floats]) -> None:
    if len(outputs) != len(expected):
        raise BundleError(f"{where}: {len(outputs)} outputs; the manifest names {', '.join(names)}")
    for name, out, wanted in zip(names, outputs, expected, strict=True):
        if out.shape != wanted.shape:
            raise BundleError(f"{where}: {name} has shape {out.shape}, the golden one {wanted.shape}")
        if not np.isfinite(out).all():
            raise BundleError(f"{where}: {name} is not finite on the golden frame")


def _error_share(outputs: tuple[Floats, ...], expected: list[Floats]) -> float:
    """All outputs share one range: a score of one number has none of its own; rounding is no share of a tiny one."""
    values = np.concatenate([wanted.ravel() for wanted in expected])
    apart = max(float(np.abs(out - wanted).max()) for out, wanted in zip(outputs, expected, strict=True))
    return apart / max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()), 1e-6)
