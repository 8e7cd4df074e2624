from __future__ import annotations

import numpy as np
import pytest

from wavemill.vae.directions import left_singular


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (50, 50)])
def test_the_vectors_are_those_of_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).normal(size=shape) * np.geomspace(1, 100, shape[1])
    left, singular = left_singular(points, 20)
    oracle, values, _ = np.linalg.svd(points, full_matrices=False)
    np.testing.assert_allclose(singular, values[:20], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(left * oracle[:, :20], axis=0)), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_directions_that_the_points_do_not_have_are_left_out(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    left, singular = left_singular(flat, 20)
    assert left.shape == (shape[0], 3)
    assert singular.shape == (3,)
    left, singular = left_singular(np.zeros(shape), 20)
    assert left.shape == (shape[0], 1)
    assert singular.tolist() == [0]
    assert np.isfinite(left).all()
