"""Cluster points that have no labels, by expectation maximisation.

Axis letters: N points, C components, R leading directions, E dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wavemill.vae.directions import left_singular

Matrix = NDArray[np.float64]

RANK = 128  # leading directions used for clustering
POINTS_PER_COMPONENT = 50  # FSDD has 40 for each digit of each speaker
MOST_COMPONENTS = 64
ITERATIONS = 50


def cluster(points: Matrix, seed: int = 0) -> NDArray[np.int64]:
    """Return the likeliest component of each point, (N, E) -> (N,), after expectation maximisation.

    The components are equally likely and share one covariance, which each iteration estimates anew.
    Whitening by it makes them spheres, so that the expectation is a softmax of squared distances.
    """
    n_components = int(np.clip(len(points) // POINTS_PER_COMPONENT, 1, MOST_COMPONENTS))
    flat = _leading(points)  # (N, E) -> (N, at most RANK)
    rng = np.random.default_rng(seed)
    means = flat[rng.choice(len(flat), n_components, replace=False)]
    spread = flat.T @ flat / len(flat)  # (R, R); the points are centred
    for _ in range(ITERATIONS):
        share = _responsibilities(flat, means, spread)  # (N, C)
        weight = share.sum(axis=0)[:, None] + 1e-9
        means = share.T @ flat / weight
        spread = (flat.T @ flat - means.T @ (weight * means)) / len(flat)
    counts = np.bincount(share.argmax(axis=1), minlength=n_components)
    if (counts > 1).any():
        share[:, counts < 2] = -1  # a lone point joins the likeliest other component
    _, group_of = np.unique(share.argmax(axis=1), return_inverse=True)  # renumber without gaps
    return group_of


def _leading(points: Matrix) -> Matrix:
    centred = points - points.mean(axis=0)
    left, singular = left_singular(centred, min(RANK, max(1, len(points) // 4)))
    return left * singular


def _responsibilities(points: Matrix, means: Matrix, spread: Matrix) -> Matrix:
    ridge = 1e-6 * np.trace(spread) / len(spread) + 1e-12
    whiten = np.linalg.inv(np.linalg.cholesky(spread + ridge * np.eye(len(spread)))).T
    x, m = points @ whiten, means @ whiten
    distance = (x**2).sum(axis=1)[:, None] - 2 * x @ m.T + (m**2).sum(axis=1)  # (N, C)
    raised = np.exp(-0.5 * (distance - distance.min(axis=1, keepdims=True)))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
