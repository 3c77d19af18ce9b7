"""DRAE: a residual autoencoder with a dense bottleneck, taught within a GAN (Ferrari 2024, 6.2.1 and 7.2).

Each stage is three residual blocks in the order A, B, C: A brings the filters to the stage's number (1x1 shortcut), B
keeps all (the input itself as shortcut), C halves or doubles height and width (a pooled or repeated shortcut). Branch
and shortcut are added, as in ResNet v2, which the paper follows: what it calls "concatenates" would double the filters
at each block. A transposed convolution of stride 1 is a convolution, and is written as one; so is the dense layer.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from tools.train.networks.cae import fold

Widths = tuple[int, int, int, int]
Resample = Literal["same", "halve", "double"]
Halving = Literal["A", "C"]

SIDE = 256
LATENT = 64
GRID = SIDE // 2**4  # where the four stages end: 16 x 16


def _middle(filters: int, resample: Resample) -> nn.Module:
    if resample == "double":
        return nn.ConvTranspose2d(filters, filters, 3, 2, 1, output_padding=1, bias=False)
    return nn.Conv2d(filters, filters, 3, 2 if resample == "halve" else 1, 1, bias=False)


def _shortcut(inputs: int, filters: int, resample: Resample) -> nn.Module:
    sizes: dict[Resample, nn.Module] = {"same": nn.Identity(), "halve": nn.MaxPool2d(2), "double": nn.Upsample(None, 2)}
    return sizes[resample] if inputs == filters else nn.Sequential(sizes[resample], nn.Conv2d(inputs, filters, 1))


class Residual(nn.Module):
    """Three 3x3 convolutions, norm and ReLU ahead of each (ResNet v2), and the shortcut added.

    raw: the input is the image itself, which no ReLU may cut.
    """

    def __init__(self, inputs: int, filters: int, resample: Resample = "same", raw: bool = False) -> None:
        super().__init__()
        self.ahead = nn.Identity() if raw else nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.projected = inputs != filters
        self.shortcut = _shortcut(inputs, filters, resample)
        self.branch = nn.Sequential(
            *(nn.Conv2d(inputs, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()),
            *(_middle(filters, resample), nn.BatchNorm2d(filters), nn.ReLU()),
            nn.Conv2d(filters, filters, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        active = self.ahead(x)
        total: Tensor = self.branch(active) + self.shortcut(active if self.projected else x)
        return total


def _closing(filters: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(filters), nn.ReLU()


class Picture(nn.Module):
    """A sigmoid in float32 whatever the convolutions ran in: bfloat16 has but 128 steps between 0.5 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().sigmoid()


class Encoder(nn.Sequential):
    """`(n, 1, 256, 256)` -> latent code `(n, 64, 1, 1)`. halving: the block that halves, the paper's C or A."""

    def __init__(self, widths: Widths, halving: Halving) -> None:
        blocks: list[nn.Module] = []
        a: Resample = "halve" if halving == "A" else "same"
        c: Resample = "halve" if halving == "C" else "same"
        inputs = 1
        for filters in widths:
            blocks += [Residual(inputs, filters, a, raw=inputs == 1), Residual(filters, filters)]
            blocks += [Residual(filters, filters, c)]
            inputs = filters
        super().__init__(*blocks, *_closing(inputs), nn.Conv2d(inputs, LATENT, GRID))


class Decoder(nn.Sequential):
    """Latent code `(n, 64, 1, 1)` -> image `(n, 1, 256, 256)` in 0..1."""

    def __init__(self, widths: Widths) -> None:
        blocks: list[nn.Module] = [nn.ConvTranspose2d(LATENT, widths[-1], GRID)]
        inputs = widths[-1]
        for filters in reversed(widths):
            blocks += [Residual(inputs, filters), Residual(filters, filters), Residual(filters, filters, "double")]
            inputs = filters
        super().__init__(*blocks, *_closing(inputs), nn.Conv2d(inputs, 1, 3, padding=1), Picture())


class Generator(nn.Module):
    """Encoder, decoder, and the second encoder that only the encoder loss asks (GANomaly; Ferrari 6.1.3)."""

    def __init__(self, widths: Widths, halving: Halving) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(widths, halving), Decoder(widths)
        self.again = Encoder(widths, halving)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(n, 1, 256, 256)` -> its code, the image rebuilt, the code of that."""
        code = self.encoder(x)
        rebuilt = self.decoder(code)
        return code, rebuilt, self.again(rebuilt)


class Discriminator(nn.Module):
    """A convolutional encoder with a dense layer on top (Ferrari 6.1.3), as plain as GANomaly's.

    `(n, 1, 256, 256)` -> the last convolution's features `(n, c, 16, 16)` and the logit of a true image `(n, 1)`.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, filters in pairwise(widths):
            layers += [nn.Conv2d(inputs, filters, 4, 2, 1, bias=False), nn.BatchNorm2d(filters), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.judgement = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * GRID**2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return features, self.judgement(features)


class Drae(nn.Module):
    """What is trained. faked: what the generator rebuilt last, kept for the discriminator's turn on the same batch."""

    def __init__(self, widths: Widths, halving: Halving) -> None:
        super().__init__()
        self.generator, self.discriminator = Generator(widths, halving), Discriminator(widths)
        self.faked: Tensor | None = None


def _scaling(norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The norm as a 1x1 convolution of each channel by itself, which engines quantise; a norm they leave in float."""
    assert norm.running_mean is not None  # as BatchNorm2d is by default
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    conv = nn.Conv2d(norm.num_features, norm.num_features, 1, groups=norm.num_features)
    conv.weight = nn.Parameter(scale.detach()[:, None, None, None])
    conv.bias = nn.Parameter((norm.bias - norm.running_mean * scale).detach())
    return conv


def on_the_line(model: nn.Module) -> nn.Module:
    """What is left of a Drae for inference: `(n, 1, 256, 256)` in 0..1 -> the same, rebuilt. No norm is left."""
    assert isinstance(model, Drae)
    net = fold(nn.Sequential(model.generator.encoder, model.generator.decoder))
    for block in [m for m in net.modules() if isinstance(m, nn.Sequential)]:
        for i, layer in enumerate(block):
            if isinstance(layer, nn.BatchNorm2d):
                block[i] = _scaling(layer)
    return net
