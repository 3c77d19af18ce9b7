"""From features to kinds of defect: selection by mutual information, then a small network (Rožanec 4)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import mutual_info_classif
from sklearn.neural_network import MLPClassifier

from edge.engines.session import Floats
from edge.inspection.kinds import Classifier, Layer

Names = NDArray[np.str_]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

HIDDEN = (512, 100)
SMALLEST = 1e-6  # a feature that moves less than this is constant


def information(x: Floats, y: Names, seed: int) -> Doubles:
    """Mutual information of each of `(n, f)` features with the label, `(f,)`; two processes are twice as fast."""
    return np.asarray(mutual_info_classif(x, y, random_state=seed, n_jobs=2), np.float64)


def choose(known: Doubles, count: int) -> Indices:
    """The K = sqrt(count) features that tell most, count being the number of training images (Hua 2005)."""
    return np.argsort(-known, kind="stable")[: max(1, round(count**0.5))].astype(np.int64)


def fit(x: Floats, y: Names, chosen: Indices, seed: int, full: float) -> Classifier:
    """Dense layers of 512 and 100 with ReLU between, softmax at the end; Adam as scikit-learn sets it, since the paper
    names no optimiser. x: `(n, f)`, all features. Standardised, which the paper does not mention: the statistics of
    early and late layers differ a hundredfold."""
    picked = x[:, chosen]
    mean, scale = picked.mean(axis=0), np.maximum(picked.std(axis=0), SMALLEST)
    network = MLPClassifier(HIDDEN, activation="relu", random_state=seed, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 rounds are the end, converged or not
        network.fit((picked - mean) / scale, y)
    layers = [
        (w.astype(np.float64), b.astype(np.float64)) for w, b in zip(network.coefs_, network.intercepts_, strict=True)
    ]
    weights, bias = layers[0]
    layers[0] = weights / scale[:, None], bias - (mean / scale) @ weights
    weights, bias = layers[-1]
    if bias.size == 1:  # two classes: scikit-learn has one logit, which is a softmax beside a zero
        layers[-1] = np.hstack([np.zeros_like(weights), weights]), np.hstack([np.zeros_like(bias), bias])
    packed: tuple[Layer, ...] = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)
    return Classifier(tuple(str(name) for name in network.classes_), chosen, packed, full)
