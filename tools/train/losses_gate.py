"""What the networks of the gate are taught with (Cheng 3.1.2); all are means over the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.train.networks.vaegan import VAEGAN


def reconstruction(logits: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy summed over the features (equation 1; the sum as in TF-VAEGAN)."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(wanted)


def divergence(mean: Tensor, log_variance: Tensor, centre: Tensor) -> Tensor:
    """KL divergence of the code from N(centre, 1): equation 3 with the class embedding as centre.

    As printed, the equation has a plus before the variance and before the square: it would have no minimum.
    """
    return -0.5 * (1 + log_variance - log_variance.exp() - (mean - centre) ** 2).sum(1).mean()


def gradient_penalty(model: VAEGAN, real: Tensor, fake: Tensor, embedding: Tensor) -> Tensor:
    """How far the discriminator's slope is from 1 between real and rebuilt features (WGAN-GP, as TF-VAEGAN)."""
    share = torch.rand(len(real), 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(model.judge(between, embedding).sum(), between, create_graph=True)
    penalty: Tensor = ((slope.norm(dim=1) - 1) ** 2).mean()
    return penalty
