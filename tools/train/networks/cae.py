"""Convolutional autoencoders for 128 px patches (Zouar chapter 4)."""

from __future__ import annotations

import copy
from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

SLOPE = 0.2


def down(i: int, o: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm, leaky ReLU; the output's side is the input's over the stride."""
    return [nn.Conv2d(i, o, kernel, stride, (kernel - 1) // 2), nn.BatchNorm2d(o), nn.LeakyReLU(SLOPE)]


def up(i: int, o: int, kernel: int, stride: int = 2) -> list[nn.Module]:
    """Deconvolution, batch norm, leaky ReLU; the output's side is the input's times the stride."""
    padding = (kernel - stride + 1) // 2
    deconvolution = nn.ConvTranspose2d(i, o, kernel, stride, padding, stride - kernel + 2 * padding)
    return [deconvolution, nn.BatchNorm2d(o), nn.LeakyReLU(SLOPE)]


def fold(network: nn.Module) -> nn.Module:
    """A copy for the line: batch norms become part of the convolutions and deconvolutions before them, no
    deconvolution has an output padding, which not every exporter can write, and none gives a single channel."""
    folded = copy.deepcopy(network).eval()
    for block in [m for m in folded.modules() if isinstance(m, nn.Sequential)]:
        for i, layer in enumerate(block):
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                continue
            norm = block[i + 1] if i + 1 < len(block) else None
            deconvolution = isinstance(layer, nn.ConvTranspose2d)
            if isinstance(norm, nn.BatchNorm2d):
                layer, block[i + 1] = fuse_conv_bn_eval(layer, norm, deconvolution), nn.Identity()
            if isinstance(layer, nn.ConvTranspose2d):
                even = _even(layer) if any(layer.output_padding) else layer
                block[i] = _woven(even) if _one_channel(even) else even
            else:
                block[i] = layer
    return folded


def _even(layer: nn.ConvTranspose2d) -> nn.ConvTranspose2d:
    """The same function by a kernel that is one larger, its last row and column zero, in place of output padding."""
    side, stride, padding = layer.kernel_size[0] + 1, layer.stride[0], int(layer.padding[0])
    even = nn.ConvTranspose2d(layer.in_channels, layer.out_channels, side, stride, padding)
    even.weight = nn.Parameter(functional.pad(layer.weight.detach(), (0, 1, 0, 1)))
    even.bias = layer.bias
    return even


def _one_channel(layer: nn.ConvTranspose2d) -> bool:
    """Whether it draws a grey image, `stride` times as large as what it is given."""
    return layer.out_channels == 1 and layer.kernel_size[0] == layer.stride[0] + 2 * int(layer.padding[0])


def _woven(layer: nn.ConvTranspose2d) -> nn.Sequential:
    """The same function by a convolution to stride x stride images that a pixel shuffle weaves into one (Shi et al.
    2016): processors work on 16 channels at a time and a deconvolution to one took a quarter of a patch's time."""
    side, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    reach = (stride - 1 + padding) // stride  # input pixels on either side that an output pixel hears of
    kernel = torch.zeros(stride, stride, layer.in_channels, 2 * reach + 1, 2 * reach + 1)
    taps = [(a, t, a + padding - stride * (t - reach)) for a in range(stride) for t in range(2 * reach + 1)]
    inside = [(a, t, at) for a, t, at in taps if 0 <= at < side]
    for (y, ty, at_y), (x, tx, at_x) in product(inside, inside):
        kernel[y, x, :, ty, tx] = layer.weight.detach()[:, 0, at_y, at_x]
    woven = nn.Conv2d(layer.in_channels, stride * stride, 2 * reach + 1, padding=reach)
    woven.weight = nn.Parameter(kernel.flatten(0, 1))
    bias = torch.zeros(1) if layer.bias is None else layer.bias.detach()
    woven.bias = nn.Parameter(bias.repeat(stride * stride))
    return nn.Sequential(woven, nn.PixelShuffle(stride))


class BergmannCAE(nn.Module):
    """Bergmann's L2 autoencoder (Zouar table 4): `(n, 1, 128, 128)` -> its reconstruction, linear.

    The table's decoder mixes kernels and strides that do not give its own output sizes; as in Bergmann's own paper the
    decoder here mirrors the encoder, which gives every output size that the table lists.
    """

    def __init__(self, latent: int = 100) -> None:
        super().__init__()
        down = [(1, 32, 4, 2), (32, 32, 4, 2), (32, 32, 3, 1), (32, 64, 4, 2), (64, 64, 3, 1)]
        down += [(64, 128, 4, 2), (128, 64, 3, 1), (64, 32, 3, 1)]
        encoder: list[nn.Module] = []
        for i, o, kernel, stride in down:
            encoder += [nn.Conv2d(i, o, kernel, stride, 1), nn.LeakyReLU(SLOPE)]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(32, latent, 8))
        decoder: list[nn.Module] = [nn.ConvTranspose2d(latent, 32, 8), nn.LeakyReLU(SLOPE)]
        for i, o, kernel, stride in reversed(down):
            layer = nn.ConvTranspose2d if stride == 2 else nn.Conv2d
            decoder += [layer(o, i, kernel, stride, 1), nn.LeakyReLU(SLOPE)]
        self.decoder = nn.Sequential(*decoder[:-1])

    def forward(self, x: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.encoder(x))
        return rebuilt


class OhYunCAE(nn.Module):
    """Oh and Yun 2018 as Zouar ran it (table 7): `(n, 1, 128, 128)` -> its reconstruction, linear.

    The table's output sizes hold, so a 5x5 kernel is padded by 2 where it prints 1. Conv8 and conv9 stand on one cell,
    where all but one weight of a kernel meets padding, and deconv8 to 10 keep the size: they are 1x1 and plain
    convolutions, the same functions. No activation and no normalisation is named: leaky ReLU as in table 4's network,
    and batch norm, without which nineteen layers learn nothing in the epochs that two cores have time for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(*down(1, 64, 5, 2), *down(64, 64, 5, 2), *down(64, 96, 5, 2), *down(96, 96, 5, 2)),
            *(*down(96, 128, 5, 2), *down(128, 128, 4, 2), *down(128, 160, 4, 2), *down(160, 160, 1)),
            nn.Conv2d(160, 192, 1),
        )
        self.decoder = nn.Sequential(
            *(*up(192, 192, 3), *up(192, 160, 3), *up(160, 160, 4), *up(160, 128, 4), *up(128, 128, 4)),
            *(*up(128, 96, 5), *up(96, 64, 5), *down(64, 32, 5), *down(32, 32, 5)),
            nn.Conv2d(32, 1, 5, padding=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.encoder(x))
        return rebuilt


class ChowCAE(nn.Module):
    """Chow et al. 2020 as Zouar ran it (tables 8 and 9): `(n, 1, 128, 128)` -> its reconstruction, linear.

    Table 9's sizes 1, 2, 4, 16, 32, 128 hold, which is deconvolutions by 2, 2, 4, 2 and 4; the stride 2 that it prints
    for all would end at 32, and for the convolutions between them contradicts their sizes: theirs is 1. Where a
    deconvolution grows by 4 its kernel is 4x4: the printed 3x3 would reach nothing of every fourth row and column.
    Activation and batch norm as in OhYunCAE.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64, 128, 256)
        encoder: list[nn.Module] = []
        for i, o in pairwise(widths):
            encoder += [*down(i, o, 3), *down(o, o, 3), nn.MaxPool2d(2)]
        encoder += [*down(256, 512, 3), *down(512, 512, 3), nn.Flatten()]
        self.encoder = nn.Sequential(*encoder, nn.Linear(8192, 100), nn.LeakyReLU(SLOPE), nn.Linear(100, 50))
        self.widen = nn.Sequential(nn.Linear(50, 100), nn.LeakyReLU(SLOPE))
        decoder: list[nn.Module] = []
        for i, o, stride in [(100, 512, 2), (512, 256, 2), (256, 128, 4), (128, 64, 2), (64, 1, 4)]:
            decoder += [*up(i, o, 3 if stride == 2 else 4, stride), *down(o, o, 3), *down(o, o, 3)]
        self.decoder = nn.Sequential(*decoder[:-2])

    def forward(self, x: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.widen(self.encoder(x))[:, :, None, None])
        return rebuilt


class PoolingCAE(nn.Module):
    """Galacz 4.2: `(n, 1, h, w)` -> its reconstruction in 0..1, and the latent code `(n, 32, h/8, w/8)`.

    The paper names 128 to 32 filters with max pooling, and four convolutions on a side; three widths are known, so the
    side with four is taken to be the decoder: 32, 64, 128, and one for the picture, each but the last after doubling.
    Kernels of 3x3, ReLU and the final sigmoid are those of the usual Keras example, which the paper seems to follow.
    """

    def __init__(self) -> None:
        super().__init__()

        def convolution(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, padding=1), nn.ReLU()]

        encoder = [[*convolution(i, o), nn.MaxPool2d(2)] for i, o in ((1, 128), (128, 64), (64, 32))]
        decoder = [[*convolution(i, o), nn.Upsample(scale_factor=2)] for i, o in ((32, 32), (32, 64), (64, 128))]
        self.encoder = nn.Sequential(*(layer for block in encoder for layer in block))
        self.decoder = nn.Sequential(*(layer for block in decoder for layer in block), nn.Conv2d(128, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.encoder(x)
        return torch.sigmoid(self.decoder(latent)), latent
