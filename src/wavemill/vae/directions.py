"""The leading directions of a set of points, from the smaller of its two Gram matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_LEAST = 1e-6  # of the greatest singular value; values below it are rounding errors of the squaring


def left_singular(points: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Return left singular vectors and singular values, greatest first, (N, E) -> (N, R), (R,).

    They are computed from the eigenvectors of `points @ points.T` or `points.T @ points`, whichever
    is smaller, which takes a fraction of the time and memory of a singular value decomposition. R
    is `rank`, or less where the points span fewer directions, but at least 1.
    """
    is_wide = points.shape[0] <= points.shape[1]
    product = points @ points.T if is_wide else points.T @ points
    values, vectors = np.linalg.eigh(product)
    singular = np.sqrt(np.maximum(values[::-1][:rank], 0))
    vectors = vectors[:, ::-1][:, :rank]
    kept = max(1, int((singular > _LEAST * singular[0]).sum()))
    singular, vectors = singular[:kept], vectors[:, :kept]
    if is_wide:
        return vectors, singular
    return points @ vectors / np.maximum(singular, np.finfo(np.float64).tiny), singular
