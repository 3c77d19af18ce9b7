"""SegDec: a segmentation network and a decision network on its features (Tabernik 2019; Božič 2020, 2021).

The published widths are 32, 64, 64 and 1024 (182 GFLOP at 512 px); a recipe names narrower ones for the line.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class SegDec(nn.Module):
    """`(n, 1, h, w)` -> logits: score `(n, 1)` and map `(n, 1, h/8, w/8)`.

    stop_gradient keeps the decision's loss out of the segmentation network (Božič 2021, 3.2: right where masks teach
    it); image labels alone must be allowed through.
    """

    def __init__(self, widths: tuple[int, int, int, int], stop_gradient: bool) -> None:
        super().__init__()
        a, b, c, features = widths
        self.stop_gradient = stop_gradient
        self.volume = nn.Sequential(
            *(_conv(1, a, 5), _conv(a, a, 5), nn.MaxPool2d(2)),
            *(_conv(a, b, 5), _conv(b, b, 5), _conv(b, b, 5), nn.MaxPool2d(2)),
            *(_conv(b, c, 5), _conv(c, c, 5), _conv(c, c, 5), _conv(c, c, 5), nn.MaxPool2d(2)),
            _conv(c, features, 15),
        )
        self.segmentation = nn.Conv2d(features, 1, 1)
        self.decision = nn.Sequential(
            nn.MaxPool2d(2),
            *(_conv(features + 1, 8, 5), nn.MaxPool2d(2)),
            *(_conv(8, 16, 5), nn.MaxPool2d(2)),
            _conv(16, 32, 5),
        )
        self.classify = nn.Linear(2 * 32 + 2, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.volume(x)
        defects = self.segmentation(features)
        f, s = (features.detach(), defects.detach()) if self.stop_gradient else (features, defects)
        d = self.decision(torch.cat([f, s], 1))
        pooled = [d.amax((2, 3)), d.mean((2, 3)), s.amax((2, 3)), s.mean((2, 3))]
        return self.classify(torch.cat(pooled, 1)), defects
