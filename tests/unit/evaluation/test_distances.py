from __future__ import annotations

import numpy as np
import pytest

from wavemill.evaluation.distances import entropy_share, frechet_distance, nearest


def gaussian(mean: list[float], covariance: list[list[float]], *, seed: int, n: int = 500) -> np.ndarray:
    """Points whose own mean and covariance are exactly these."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(np.array(covariance)).T + mean


def test_the_frechet_distance_of_two_known_gaussians() -> None:
    # |(0, 0) - (3, 4)|^2 + tr(A + B - 2 sqrt(AB)) = 25 + (1 + 4 - 2 * 2) + (9 + 9 - 2 * 9)
    first = gaussian([0, 0], [[1, 0], [0, 9]], seed=1)
    second = gaussian([3, 4], [[4, 0], [0, 9]], seed=2)
    assert frechet_distance(first, second) == pytest.approx(26, abs=1e-6)
    assert frechet_distance(second, first) == pytest.approx(26, abs=1e-6)


def test_the_frechet_distance_of_a_set_to_itself_is_zero_even_where_it_is_flat() -> None:
    points = gaussian([1, 2], [[2, 1], [1, 2]], seed=3)
    flat = np.column_stack([points, np.zeros(len(points))])  # as an embedding's dead dimension
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_nearest_point_and_its_root_mean_square_distance() -> None:
    others = np.array([[[0, 0], [0, 0]], [[1, 1], [1, 1]]], np.float32)
    distance, which = nearest(np.array([[[1, 1], [1, 3]], [[0, 0], [0, 0]]], np.float32), others)
    assert which.tolist() == [1, 0]
    assert distance == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("counts", "share"), [([5, 5, 5, 5], 1), ([9, 0, 0, 0], 0), ([4, 4, 0, 0], 0.5), ([0, 0], 0), ([3], 0)]
)
def test_entropy_is_a_share_of_an_even_distributions(counts: list[int], share: float) -> None:
    assert entropy_share(np.array(counts)) == pytest.approx(share)
