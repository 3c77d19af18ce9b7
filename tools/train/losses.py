"""What the networks are taught with."""

from __future__ import annotations

import cv2
import numpy as np
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


def segdec_loss(score: Tensor, defects: Tensor, label: Tensor, mask: Tensor, weights: Tensor, share: float) -> Tensor:
    """Božič 2021, equation 1: share * segmentation + (1 - share) * decision, logits `(n, 1)` and `(n, 1, h, w)`.

    share runs from 1 to 0 over the training. Each image's defect and background weigh the same: with the paper's plain
    mean a surface whose defects run from 0.2 % of the picture to 45 % (magnetic_tile) taught nothing in 40 epochs.

    An image whose weights are all 0 has a label and no mask: it teaches the decision alone (Božič 2021, 3.1).

    share is 0 throughout where there are image labels alone. Then the map's worst hundredth learns the image's label as
    well: the decision by itself is as content with a map upside down (its maximum had an AUROC of 0.07 on solar_mono).
    """
    decision = F.binary_cross_entropy_with_logits(score, label)
    if share == 0:
        worst = defects.flatten(1).topk(max(1, defects[0].numel() // 100)).values.mean(1, keepdim=True)
        return decision + F.binary_cross_entropy_with_logits(worst, label)
    cells = defects.shape[-2:]
    wanted = F.adaptive_max_pool2d(mask, cells)
    weight = F.adaptive_max_pool2d(weights * mask, cells)
    per_cell = F.binary_cross_entropy_with_logits(defects, wanted, reduction="none")
    known = (weights.amax((1, 2, 3)) > 0).float()
    segmentation = 0.5 * ((_mean(per_cell, weight) + _mean(per_cell, 1 - wanted)) * known).mean()
    return share * segmentation + (1 - share) * decision


def ssim(mean_a: Tensor, mean_b: Tensor, squares: Tensor, product: Tensor) -> Tensor:
    """Mean SSIM of two pictures in 0..1 (Wang 2004) from their windows' means: of a, b, a² + b² and ab."""
    covariance, variances = product - mean_a * mean_b, squares - mean_a * mean_a - mean_b * mean_b
    top = (2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
    return (top / ((mean_a * mean_a + mean_b * mean_b + 0.01**2) * (variances + 0.03**2))).mean()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each image, `(n,)`; 0 where nothing has weight."""
    return (values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1e-6)
