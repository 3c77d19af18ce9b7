"""The VAEGAN of the gate (Cheng 3.1.2, figure 4): encoder 1, decoder, discriminator, encoder 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.train.networks.vae import dense, sample


class VAEGAN(nn.Module):
    """features: of a frame, in 0..1; attributes: of a class embedding, and so of the latent code (as in TF-VAEGAN).

    encoder_1: features and embedding -> mean and log variance. decoder, which is the generator: code and embedding ->
    features' logits. discriminator: features and embedding -> how real. encoder_2: features alone -> the embedding;
    with the decoder it makes the reverse autoencoder. On the line only encoder 2 is left.

    TF-VAEGAN's feedback from the semantic decoder's hidden layer into the generator is left out, as in Cheng's figure
    4; its class embeddings have length 1, Cheng's (and these) are as they are.
    """

    def __init__(self, features: int, attributes: int) -> None:
        super().__init__()
        self.encoder_1 = dense(features + attributes, 2 * attributes)
        self.decoder = dense(2 * attributes, features)
        self.discriminator = dense(features + attributes, 1)
        self.encoder_2 = dense(features, attributes)

    def rebuild(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the rebuilt features, mean and log variance of the code."""
        mean, log_variance = self.encoder_1(torch.cat([x, embedding], 1)).chunk(2, 1)
        return self.generate(sample(mean, log_variance), embedding), mean, log_variance

    def generate(self, code: Tensor, embedding: Tensor) -> Tensor:
        logits: Tensor = self.decoder(torch.cat([code, embedding], 1))
        return logits

    def judge(self, x: Tensor, embedding: Tensor) -> Tensor:
        """How real the features look, `(n, 1)`, unbounded."""
        score: Tensor = self.discriminator(torch.cat([x, embedding], 1))
        return score
