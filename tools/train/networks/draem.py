"""DRAEM: a network that repairs what it takes for damage, and one that sees the difference (Zavrtanik et al. 2021, 3).

The published widths are 128 and 64 (about 400 GFLOP at 256 px); a recipe names narrower ones for two CPU cores. The
input is grey as our images are; the two-channel softmax of the paper is here one logit, which is the same function.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for i in (inputs, outputs):
        layers += [nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _raise(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the side, then a 3x3 convolution."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        *(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
    )


def _widths(width: int, levels: int) -> list[int]:
    """Doubled at each level up to eight times."""
    return [width * min(2**level, 8) for level in range(levels)]


class Encoder(nn.Module):
    """`levels` blocks with a halving between: the feature maps of all levels, finest first."""

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        widths = _widths(width, levels)
        self.blocks = nn.ModuleList(_block(i, o) for i, o in zip([channels, *widths], widths, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(functional.max_pool2d(x, 2) if index else x)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """Back to full size and one channel; with `skips` each level's encoder features come along (U-Net)."""

    def __init__(self, width: int, levels: int, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        widths = _widths(width, levels)[::-1]
        self.raises = nn.ModuleList(_raise(i, o) for i, o in pairwise(widths))
        self.blocks = nn.ModuleList(_block(2 * o if skips else o, o) for o in widths[1:])
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        x = levels[-1]
        for index, (up, block) in enumerate(zip(self.raises, self.blocks, strict=True)):
            x = up(x)
            x = block(torch.cat([x, levels[-2 - index]], 1) if self.skips else x)
        out: Tensor = self.last(x)
        return out


class Draem(nn.Module):
    """`(n, 1, h, w)`, sides of a multiple of 32 -> the repaired image and the map's logits, both `(n, 1, h, w)`."""

    def __init__(self, reconstructive: int, discriminative: int) -> None:
        super().__init__()
        self.encoder = Encoder(1, reconstructive, 5)
        self.decoder = Decoder(reconstructive, 5, skips=False)
        self.compare = Encoder(2, discriminative, 6)
        self.locate = Decoder(discriminative, 6, skips=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        repaired = self.decoder(self.encoder(x))
        return repaired, self.locate(self.compare(torch.cat([repaired, x], 1)))


class MapOnly(nn.Module):
    """What the line runs of a Draem: the map's logits alone."""

    def __init__(self, draem: Draem) -> None:
        super().__init__()
        self.draem = draem

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.draem(x)[1]
        return logits
