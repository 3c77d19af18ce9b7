"""Convolutional autoencoders for 128 px patches."""

from __future__ import annotations

from torch import Tensor, nn


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
            encoder += [nn.Conv2d(i, o, kernel, stride, 1), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(32, latent, 8))
        decoder: list[nn.Module] = [nn.ConvTranspose2d(latent, 32, 8), nn.LeakyReLU(0.2)]
        for i, o, kernel, stride in reversed(down):
            layer = nn.ConvTranspose2d if stride == 2 else nn.Conv2d
            decoder += [layer(o, i, kernel, stride, 1), nn.LeakyReLU(0.2)]
        self.decoder = nn.Sequential(*decoder[:-1])

    def forward(self, x: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.encoder(x))
        return rebuilt
