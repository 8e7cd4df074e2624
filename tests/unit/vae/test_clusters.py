from __future__ import annotations

import numpy as np
import pytest

from wavemill.vae.latents.clusters import cluster, leading


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (50, 50)])
def test_the_leading_directions_are_those_of_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).normal(size=shape) * np.geomspace(1, 100, shape[1])
    points -= points.mean(axis=0)
    vectors, singular, _ = np.linalg.svd(points, full_matrices=False)
    along, white = leading(points, 20), leading(points, 20, whiten=True)
    np.testing.assert_allclose(np.abs(along), np.abs(vectors[:, :20] * singular[:20]), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(white.var(axis=0, ddof=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.corrcoef(white[:, 0], vectors[:, 0])[0, 1]), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (1, 30)])
def test_directions_that_the_points_do_not_have_are_left_out(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    assert leading(flat, 20, whiten=True).shape == (shape[0], min(3, shape[0]))
    white = leading(np.zeros(shape), 20, whiten=True)
    assert white.shape == (shape[0], 1)
    assert not white.any()


def test_clusters_are_those_that_the_points_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    middles = 20 * rng.normal(size=(4, 12))
    drawn_from = np.repeat(np.arange(4), 60)
    found = cluster(middles[drawn_from] + rng.normal(size=(240, 12)))
    assert len(np.unique(found)) == 4
    assert len(np.unique(np.stack([found, drawn_from]), axis=1).T) == 4


def test_a_cluster_is_never_a_single_point() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(149, 3)), [[500.0, 0, 0]]])
    for seed in range(5):
        assert np.bincount(cluster(points, seed)).min() > 1


def test_points_that_are_all_the_same_are_one_cluster() -> None:
    assert not cluster(np.ones((3, 5))).any()
    assert not cluster(np.ones((150, 5))).any()
