"""Cheng's gate, taught on the backbone's features: learned class embedding, VAEGAN, nearest embedding (3.1.2).

Where the paper is silent TF-VAEGAN (Narayan 2020) is followed: features scaled to 0..1, Adam with betas 0.5 and 0.999,
five steps of the discriminator for one of the rest, WGAN-GP with weight 10, the adversarial loss with weight 10, the
embedding's reconstruction with 0.1 in the generator's loss. Differently from both: surfaces are drawn equally often
(solar cells are a third of our images), a batch is 256 and the rate 5e-4 instead of 64 and 1e-4, and the features are
the gate's principal components, so that a network is taught in a minute on one core. The class embedding of an unseen
surface is used nowhere: the paper's inductive setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam

from tools.train.losses_gate import divergence, gradient_penalty, reconstruction
from tools.train.networks.vae import EmbeddingVAE
from tools.train.networks.vaegan import VAEGAN

Floats = NDArray[np.float32]

BATCH = 256
RATE_VAE, RATE = 1e-3, 5e-4
CRITIC_STEPS = 5
PENALTY, ADVERSARIAL, EMBEDDING = 10.0, 10.0, 0.1


@dataclass(frozen=True)
class Taught:
    """x `(n, f)` in 0..1; surface `(n,)`: its row in the class embedding."""

    x: Tensor
    surface: Tensor

    def batches(self, steps: int) -> Iterator[Tensor]:
        """Rows of each batch, every surface equally likely."""
        weight = (1 / torch.bincount(self.surface).float())[self.surface]
        for _ in range(steps):
            yield torch.multinomial(weight, BATCH, replacement=True)


def scale(codes: Floats, fitted_on: Floats) -> Tensor:
    """Each column to 0..1 by its extremes in `fitted_on`; what lies beyond is clipped."""
    low, high = fitted_on.min(axis=0), fitted_on.max(axis=0)
    return torch.from_numpy(((codes - low) / (high - low + 1e-9)).clip(0, 1).astype(np.float32))


def adam(rate: float, *networks: nn.Module) -> Adam:
    return Adam([p for network in networks for p in network.parameters()], rate, betas=(0.5, 0.999))


def step(optimiser: Adam, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def learn_embedding(taught: Taught, real: Tensor, steps: int, seed: int) -> Tensor:
    """The learned class embedding `(s, a)`: the mean latent code of each surface; real: the one by hand, `(s, a)`."""
    torch.manual_seed(seed)
    model = EmbeddingVAE(taught.x.shape[1], real.shape[1])
    optimiser = adam(RATE_VAE, model)
    for rows in taught.batches(steps):
        logits, mean, log_variance = model(taught.x[rows])
        held = divergence(mean, log_variance, real[taught.surface[rows]])
        step(optimiser, 0.5 * reconstruction(logits, taught.x[rows]) + held)
    with torch.no_grad():
        codes = model.encoder(taught.x).chunk(2, 1)[0]
    return torch.stack([codes[taught.surface == index].mean(0) for index in range(len(real))])


def teach(taught: Taught, embedding: Tensor, absolute: bool, steps: int, seed: int) -> nn.Module:
    """Encoder 2, `(n, f)` -> `(n, a)`. absolute: L1 on the embedding, TF-VAEGAN's; else equation 4, Cheng's."""
    torch.manual_seed(seed)
    model = VAEGAN(taught.x.shape[1], embedding.shape[1])
    critic, reader = adam(RATE, model.discriminator), adam(RATE, model.encoder_2)
    generator = adam(RATE, model.encoder_1, model.decoder)
    error = F.l1_loss if absolute else F.mse_loss
    for rows in taught.batches(steps):
        x, a = taught.x[rows], embedding[taught.surface[rows]]
        for _ in range(CRITIC_STEPS):
            with torch.no_grad():
                fake = model.rebuild(x, a)[0].sigmoid()
            slope = gradient_penalty(model, x, fake, a)
            step(critic, ADVERSARIAL * (model.judge(fake, a).mean() - model.judge(x, a).mean() + PENALTY * slope))
        logits, mean, log_variance = model.rebuild(x, a)
        fake = logits.sigmoid()
        variational = reconstruction(logits, x) + divergence(mean, log_variance, torch.zeros_like(mean))
        feedback = EMBEDDING * error(model.encoder_2(fake), a) - ADVERSARIAL * model.judge(fake, a).mean()
        step(generator, variational + feedback)
        step(reader, error(model.encoder_2(x), a) + error(model.encoder_2(fake.detach()), a))
    return model.encoder_2


@torch.no_grad()
def dissimilarity(reader: nn.Module, x: Tensor, embedding: Tensor) -> Floats:
    """Root of the mean squared difference to each surface's embedding, `(n, s)` (equation 4)."""
    read: Tensor = reader(x)
    return torch.cdist(read, embedding).div(embedding.shape[1] ** 0.5).numpy()
