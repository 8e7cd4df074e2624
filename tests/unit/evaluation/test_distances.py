from __future__ import annotations

import numpy as np
import pytest

from wavemill.evaluation.distances import entropy_share, frechet_distance, nearest, neighbourhoods


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


def test_neighbourhoods_of_the_same_cloud_are_full_and_of_another_empty() -> None:
    rng = np.random.default_rng(0)
    real, same = rng.normal(size=(400, 6)), rng.normal(size=(400, 6))
    figures = neighbourhoods(real, same, 5)
    assert figures["density"] == pytest.approx(1, abs=0.1)
    assert figures["coverage"] == pytest.approx(1 - 0.5**5, abs=0.04)  # Naeem et al., 2020, section 3.3
    assert min(figures["precision"], figures["recall"]) > 0.8
    assert neighbourhoods(real, same + 100, 5) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_what_repeats_one_point_is_precise_and_covers_nothing() -> None:
    real = np.random.default_rng(0).normal(size=(400, 6))
    figures = neighbourhoods(real, np.repeat(real[:1], 400, axis=0), 5)
    assert figures["precision"] == 1
    assert max(figures["recall"], figures["coverage"]) < 0.05
