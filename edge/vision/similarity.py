"""Structural similarity of two grey images (Wang et al. 2004), as Bergmann and Ferrari score reconstructions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STABILITY = (0.01, 0.03)
WINDOW, SIGMA = 11, 1.5  # pixels; the Gaussian weights


def ssim_map(image: Floats, rebuilt: Floats) -> Floats:
    """SSIM of two `(h, w)` float32 images in 0..1 around each pixel, `(h, w)` float32 in -1..1; 1 where they are alike.

    Beyond the edge the image is mirrored without repeating its last pixel. Wang's equation 13.
    """
    c1, c2 = (k**2 for k in STABILITY)

    def local(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT_101))

    # Variances are small differences of large squares: around a common level they lose nothing to float32.
    level = np.float32(image.mean())
    a, b = image - level, rebuilt - level
    mean_a, mean_b = local(a), local(b)
    squares = local(a * a + b * b) - (mean_a * mean_a + mean_b * mean_b)
    product = local(a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + level, mean_b + level
    top = (2 * mean_a * mean_b + c1) * (2 * product + c2)
    return np.asarray(top / ((mean_a * mean_a + mean_b * mean_b + c1) * (squares + c2)), np.float32)
