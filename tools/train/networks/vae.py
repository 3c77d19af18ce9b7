"""The variational autoencoder whose latent code is held to the class embedding (Cheng 3.1.2, figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 256


def dense(inputs: int, outputs: int, hidden: int = HIDDEN) -> nn.Sequential:
    """One hidden layer, LeakyReLU 0.2, weights from N(0, 0.02): every network of TF-VAEGAN, but for the width (4096
    there, for 2048 features)."""
    layers = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, outputs))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)
    return layers


def sample(mean: Tensor, log_variance: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)


class EmbeddingVAE(nn.Module):
    """`(n, f)` features in 0..1 -> their reconstruction's logits `(n, f)`, mean and log variance of the latent code
    `(n, attributes)`. The work that it is taken from (Pan 2021) is not published: one hidden layer each way."""

    def __init__(self, features: int, attributes: int) -> None:
        super().__init__()
        self.encoder = dense(features, 2 * attributes)
        self.decoder = dense(attributes, features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return self.decoder(sample(mean, log_variance)), mean, log_variance
