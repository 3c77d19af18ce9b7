"""What the networks are taught with."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def pixel_weights(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance-transform weights of one `(h, w)` mask (Božič 2021, equation 4, with p = 2 and w_pos = 1).

    A defect's middle counts fully and its rim, where annotators disagree, less; background counts 1.
    """
    distance = cv2.distanceTransform((mask > 0).astype(np.uint8), cv2.DIST_L2, 5)
    if not distance.max():
        return np.ones_like(mask)
    return np.where(mask > 0, np.maximum((distance / distance.max()) ** 2, 0.05), 1.0).astype(np.float32)


def segdec_loss(
    score: Tensor, defects: Tensor, label: Tensor, mask: Tensor, weights: Tensor, share: float
) -> Tensor:
    """Božič 2021, equation 1: share * segmentation + (1 - share) * decision, logits `(n, 1)` and `(n, 1, h, w)`.

    share runs from 1 to 0 over the training; it is 0 throughout where there are image labels alone.
    """
    decision = F.binary_cross_entropy_with_logits(score, label)
    if share == 0:
        return decision
    cells = defects.shape[-2:]
    wanted = F.adaptive_max_pool2d(mask, cells)
    weight = torch.where(wanted > 0, F.adaptive_max_pool2d(weights * mask, cells), torch.ones_like(wanted))
    return share * F.binary_cross_entropy_with_logits(defects, wanted, weight) + (1 - share) * decision
