"""How usual a latent code is: the density of good ones by a Gaussian kernel (Galacz 4.2), without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle
from edge.engines.session import Floats
from edge.errors import BundleError, ScoreError

ARRAYS = ("codes", "bandwidth", "error_limit", "rarity_limit")


def log_density(codes: Floats, good: Floats, bandwidth: float) -> Floats:
    """Logarithm of the kernel density at each code: `(m, d)` and good ones `(n, d)` -> `(m,)` float32.

    The same as scikit-learn's KernelDensity(kernel="gaussian", bandwidth=bandwidth).fit(good).score_samples(codes).
    """
    n, d = good.shape
    constant = np.log(n) + d / 2 * np.log(2 * np.pi * bandwidth**2)
    return np.asarray(_log_kernels(codes, good, bandwidth) - constant, np.float32)


def rarity(codes: Floats, good: Floats, bandwidth: float) -> Floats:
    """The log density turned round, `(m,)`: 0 where it could not be higher, and there the squared distance to the good
    codes near by. Never negative, so that it has a ratio to a limit, which a logarithm has not."""
    return np.asarray(-2 * bandwidth**2 * (_log_kernels(codes, good, bandwidth) - np.log(len(good))), np.float32)


def _log_kernels(codes: Floats, good: Floats, bandwidth: float) -> Floats:
    """Logarithm of the sum of all kernels, each 1 at its own code."""
    apart = np.stack([np.square(good - code).sum(1) for code in codes])
    exponents = apart / (-2 * bandwidth**2)
    highest = exponents.max(1, keepdims=True)
    return np.asarray(highest[:, 0] + np.log(np.exp(exponents - highest).sum(1)))


@dataclass(frozen=True, slots=True)
class Density:
    """codes: `(n, d)` float32 of good patches. error_limit, rarity_limit: above either a frame is rejected."""

    codes: Floats
    bandwidth: float
    error_limit: float
    rarity_limit: float

    def score(self, error: float, latent: Floats) -> float:
        """The larger of a frame's two shares of their limits: above 1 one of them is passed.

        latent: `(patches, ...)`; its most unusual patch counts. Raises ScoreError where it has another size.
        """
        flat = np.reshape(latent, (len(latent), -1))
        if flat.shape[1] != self.codes.shape[1]:
            raise ScoreError(f"the latent code has {flat.shape[1]} numbers, the good ones {self.codes.shape[1]}")
        unusual = float(rarity(flat, self.codes, self.bandwidth).max())
        return float(np.maximum(error / self.error_limit, unusual / self.rarity_limit))  # a NaN stays one


def read_density(bundle: Bundle) -> Density | None:
    """None where the graphs give a reconstruction alone. Raises BundleError where the second output is no latent code,
    or the arrays are missing or unfit."""
    if len(bundle.manifest.outputs) == 1:
        return None
    if bundle.manifest.outputs[1] != "latent":
        raise BundleError(f"{bundle.path}: outputs: after the reconstruction comes `latent` or nothing")
    entry = bundle.manifest.arrays
    if entry is None:
        raise BundleError(f"{bundle.path}: a latent code needs [arrays] with those of good parts")
    arrays, where = bundle.read_arrays(entry), bundle.path / entry.file
    lacking = [name for name in ARRAYS if name not in arrays]
    if lacking:
        raise BundleError(f"{where} lacks {', '.join(lacking)}; bring the bundle anew")
    codes = arrays["codes"].astype(np.float32)
    if codes.ndim != 2 or not codes.size or not np.isfinite(codes).all():
        raise BundleError(f"{where}: codes is no matrix of finite numbers")
    limits = [float(arrays[name]) if arrays[name].size == 1 else np.nan for name in ARRAYS[1:]]
    if not all(np.isfinite(limit) and limit > 0 for limit in limits):
        raise BundleError(f"{where}: {', '.join(ARRAYS[1:])} are one positive number each")
    return Density(codes, *limits)
