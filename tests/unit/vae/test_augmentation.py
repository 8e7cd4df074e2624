from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from wavemill.vae.training.augmentation import augment, interpolation_matrix, moved, moves_for


def test_interpolation_agrees_with_a_hermite_spline_of_central_differences() -> None:
    y = np.random.default_rng(0).random(20)
    spline = CubicHermiteSpline(np.arange(1, 19), y[1:19], (y[2:] - y[:-2]) / 2)
    positions = np.linspace(1, 17.999, 300)
    ours = interpolation_matrix(positions[None], 20)[0] @ y
    np.testing.assert_allclose(ours, spline(positions), atol=1e-5)


def test_positions_beyond_the_ends_read_silence() -> None:
    weights = interpolation_matrix(np.array([[-2.0, -5.5, 11.0, 40.0]]), 10)
    assert not weights.any()


def test_augmentation_moves_sound_and_keeps_its_range() -> None:
    x = np.zeros((64, 32, 40), np.float32)
    x[:, 8:12, 10:20] = 1
    y = augment(x, np.random.default_rng(3))
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert y.min() == 0
    assert 0.99 < y.max() <= 1
    centre_bin = (y.mean(axis=2) * np.arange(32)).sum(axis=1) / y.mean(axis=2).sum(axis=1)
    centre_frame = (y.mean(axis=1) * np.arange(40)).sum(axis=1) / y.mean(axis=1).sum(axis=1)
    assert 8.5 < centre_bin.min() < 9.2 < 9.8 < centre_bin.max() < 10.6
    assert 8 < centre_frame.min() < 13 < 20 < centre_frame.max() < 29


def test_about_half_of_the_clips_stay_as_they_were_recorded() -> None:
    x = np.random.default_rng(0).random((400, 8, 8), np.float32)
    kept = (augment(x, np.random.default_rng(1)) == x).all(axis=(1, 2)).mean()
    assert 0.4 < kept < 0.6


def test_the_same_seed_augments_alike() -> None:
    x = np.random.default_rng(0).random((3, 8, 8), np.float32)
    one, two, other = (augment(x, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_what_has_a_number_as_label_is_neither_stretched_nor_warped() -> None:
    assert moves_for([{"digit": "7"}], 0.06) is moved
    coloured = moves_for([{"digit": "7"}, {"pitch": 60}], 0.06)
    x = np.zeros((8, 32, 40), np.float32)
    x[:, [5, 10, 20], 4:20] = [[0.5], [1.0], [0.6]]
    changed = coloured(x, np.random.default_rng(0))
    for clip in changed:
        sounding = np.flatnonzero(clip.max(axis=0))
        assert np.flatnonzero(clip.max(axis=1)).tolist() == [5, 10, 20], "no bin moves"
        assert len(sounding) == 16, "no frame is added"
        assert 4 <= sounding[0] <= 14
        assert clip.max() == pytest.approx(1)
    assert len({clip[5].max() for clip in changed}) > 1
    assert {clip[5].max() for clip in moves_for([{"pitch": 60}], 0.0)(x, np.random.default_rng(0))} == {np.float32(0.5)}


def test_a_frame_that_is_shorter_than_the_shift_keeps_a_part_of_its_sound() -> None:
    x = np.ones((40, 4, 3), np.float32)
    changed = moves_for([{"pitch": 60}], 0.0)(x, np.random.default_rng(0))
    assert {int(clip.any(axis=0).sum()) for clip in changed} == {1, 2, 3}
