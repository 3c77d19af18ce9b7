"""What may be shipped: a bundle whose parity was checked, passed, and is of the very files that lie there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.bundle import MANIFEST, open_bundle
from edge.engines.session import installed
from edge.offline.parity import Limits
from edge.offline.parity_run import check_parity, subject

BUNDLES = sorted(path.parent.name for path in (Path(__file__).parent.parent / "exported_models").glob(f"*/{MANIFEST}"))
SAMPLE = 8  # frames of a surface
# Of so few frames a single coin is a tenth: what counts is that nothing passes that FP32 clearly rejects.
FEW = Limits(flips=0.13, auroc_lost=0.15, aupro_lost=0.15)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_bundle_has_passed_its_parity_as_it_lies_there(exported_models: Path, name: str) -> None:
    bundle = open_bundle(exported_models / name)
    if bundle.manifest.kind == "kinds":
        pytest.skip("it names a defect and changes no verdict")
    told = bundle.manifest.parity
    assert told, f"{name} has no [parity]: edge parity {exported_models / name} DATA --record"
    assert told["passed"] is True
    assert told["subject"] == subject(bundle.manifest), (
        f"{name} has changed since {told['date']}: check its parity again"
    )
    assert {"date", "command", "frames", "flips", "quickest", "faster"} <= told.keys()


@pytest.mark.parametrize("name", BUNDLES)
def test_a_sample_of_real_frames_gets_the_verdicts_of_fp32(exported_models: Path, shared_data: Path, name: str) -> None:
    if not installed("onnx") or find_spec("sklearn") is None:
        pytest.skip("the reference needs onnxruntime, the figures scikit-learn")
    bundle = open_bundle(exported_models / name)
    if bundle.manifest.kind == "kinds":
        pytest.skip("it names a defect and changes no verdict")
    if not any((shared_data / surface / "test").is_dir() for surface in bundle.manifest.surfaces):
        pytest.skip(f"no test images of {bundle.manifest.surfaces[0]} in {shared_data}")
    limit = 2 if bundle.manifest.kind == "gate" else SAMPLE
    found, *_ = check_parity(bundle, [shared_data], lambda *_: None, limit=limit, limits=FEW)
    assert found.passed, (found.wrong, found.lost)
    assert {row.engine for row in found.rows} >= {"onnx"}
