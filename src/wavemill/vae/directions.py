"""The leading directions of a cloud of points, found through the smaller side of its matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_LEAST = 1e-6  # of the greatest singular value: below it lies what squaring leaves of rounding


def left_singular(points: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Return left singular vectors and singular values, greatest first, (N, E) -> (N, R), (R,).

    The eigenvectors of the smaller of the two products of `points` with itself give them for a fraction of the
    singular value decomposition's time and memory. R is `rank`, or less where the cloud has fewer directions, at
    least 1.
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
