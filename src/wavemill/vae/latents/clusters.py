"""Cluster points that have no labels, and measure distances in their leading directions.

Axis letters: N points, C components, R leading directions, E dimensions.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

RANK = 128  # leading directions used
POINTS_PER_COMPONENT = 50  # FSDD has 40 for each digit of each speaker
MOST_COMPONENTS = 64
ITERATIONS = 15  # of expectation maximisation; 50 give the same groups of digits

_LEAST = 1e-12  # of the greatest variance; smaller ones are rounding errors


def cluster(points: Matrix, seed: int = 0) -> NDArray[np.int64]:
    """Return the likeliest component of each point, (N, E) -> (N,), numbered without gaps.

    The components of the Gaussian mixture share one covariance. No component has a single point,
    unless there is only one.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n_components = int(np.clip(len(points) // POINTS_PER_COMPONENT, 1, MOST_COMPONENTS))
    if n_components == 1:
        return np.zeros(len(points), np.int64)
    flat = leading(points, min(RANK, max(1, len(points) // 4)))
    mixture = GaussianMixture(n_components, covariance_type="tied", max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is good enough before it converges
        share = mixture.fit(flat).predict_proba(flat)  # (N, C)
    counts = np.bincount(share.argmax(axis=1), minlength=n_components)
    if (counts > 1).any():
        share[:, counts < 2] = -1  # a lone point joins the likeliest other component
    return np.unique(share.argmax(axis=1), return_inverse=True)[1]


def leading(points: Matrix, rank: int, *, whiten: bool = False) -> Matrix:
    """Return the coordinates of points in their leading directions, (N, E) -> (N, R).

    R is `rank`, or less where the points span fewer directions, but at least 1. `whiten` gives all
    directions the same variance.
    """
    from sklearn.decomposition import PCA

    if (points == points[0]).all():
        return np.zeros((len(points), 1))
    found = PCA(min(rank, *points.shape), random_state=0).fit(points)
    variance = found.explained_variance_
    kept = max(1, int((variance > _LEAST * variance[0]).sum()))
    along = (points - found.mean_) @ found.components_[:kept].T
    return np.asarray(along / np.sqrt(np.maximum(variance[:kept], np.finfo(np.float64).tiny)) if whiten else along)
