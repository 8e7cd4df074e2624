"""Distances between two sets of points: between their distributions, or point by point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from wavemill.arrays import FloatArray


def frechet_distance(first: FloatArray, second: FloatArray) -> float:
    """Return the squared Frechet distance of two sets of points, each fitted by a Gaussian [1]_.

    Parameters
    ----------
    first, second : float [shape=(points, dimensions)], at least two points
        Few points give too large a distance: compare sets of equal size only.

    References
    ----------
    .. [1] Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    covariance_a, covariance_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    # sqrt(A B) has the trace of sqrt(sqrt(A) B sqrt(A)), which is symmetric and so also exact for
    # dimensions that do not vary.
    values, directions = np.linalg.eigh(covariance_a)
    root_a = (directions * np.sqrt(np.maximum(values, 0))) @ directions.T
    product = np.linalg.eigvalsh(root_a @ covariance_b @ root_a)
    spread = np.trace(covariance_a + covariance_b) - 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(max(shift + spread, 0.0))


def nearest(points: FloatArray, others: FloatArray, *, to_itself: bool = True) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return each point's root mean square distance to the nearest of `others`, and its index.

    Parameters
    ----------
    points, others : float32 [shape=(points, ...)], at least one of the others
    to_itself : bool
        False: point number i and number i of the others are the same, and not each other's nearest.
    """
    a = points.reshape(len(points), -1).astype(np.float64)
    b = others.reshape(len(others), -1).astype(np.float64)
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T  # (N, M)
    if not to_itself:
        np.fill_diagonal(squares, np.inf)
    chosen = squares.argmin(axis=1)
    least = np.maximum(squares[np.arange(len(a)), chosen], 0)
    return np.sqrt(least / a.shape[1]).astype(np.float32), chosen


def entropy_share(counts: NDArray[np.int64]) -> float:
    """Return the entropy of counts: 1 if all are equal, 0 if all but one are 0."""
    total = counts.sum()
    if total == 0 or len(counts) < 2:
        return 0.0
    p = counts[counts > 0] / total
    return float(-(p * np.log(p)).sum() / np.log(len(counts)))


def neighbourhoods(real: FloatArray, made: FloatArray, k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage of points that were made [1]_.

    A point's neighbourhood reaches to its k-th nearest point of its own set.

    Parameters
    ----------
    real, made : float [shape=(points, dimensions)], more than `k` points each

    References
    ----------
    .. [1] Naeem, Oh, Uh, Choi, Yoo, "Reliable fidelity and diversity metrics for generative models", 2020.
    """
    apart = _apart(real, made)  # (R, M)
    real_reach, made_reach = (np.sort(_apart(points, points), axis=1)[:, k] for points in (real, made))  # 0 is itself
    near_real, near_made = apart <= real_reach[:, None], apart <= made_reach[None, :]
    return {
        "precision": float(near_real.any(axis=0).mean()),
        "recall": float(near_made.any(axis=1).mean()),
        "density": float(near_real.sum(axis=0).mean() / k),
        "coverage": float(near_real.any(axis=1).mean()),
    }


def _apart(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    return np.asarray(cdist(first.astype(np.float64), second.astype(np.float64)))
