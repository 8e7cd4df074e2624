from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavemill.errors import ModelError
from wavemill.vae.network.scaling import db_to_network, network_to_db

PEAK = {"scheme": "peak", "range_db": 50.0, "fade_db": 4.0, "fade_to_db": 80.0}
MIN_MAX = {"scheme": "min-max"}


def example_db() -> np.ndarray:
    return np.array([[[-100.0, -70.1, -70.0, -66.0, -45.0, -20.0]]], np.float32)


def test_peak_maps_the_top_fifty_decibels_to_zero_to_one() -> None:
    x = db_to_network(example_db(), PEAK)
    np.testing.assert_allclose(x[0, 0], [0, 0, 0, 0.08, 0.5, 1], atol=1e-6)


def test_min_max_maps_the_whole_range() -> None:
    x = db_to_network(example_db(), MIN_MAX)
    np.testing.assert_allclose(x[0, 0], [0, 29.9 / 80, 30 / 80, 34 / 80, 55 / 80, 1], atol=1e-6)


@pytest.mark.parametrize("scheme", [PEAK, MIN_MAX])
def test_the_level_comes_back(scheme: dict[str, Any]) -> None:
    db = example_db() + np.array([0.0, -37.5], np.float32).reshape(2, 1, 1)  # the same sound, twice as far away
    x = db_to_network(db, scheme)
    np.testing.assert_allclose(x[0], x[1], atol=1e-6)
    back = network_to_db(x, scheme, peak_db=db.max(axis=(1, 2)), floor_db=db.min(axis=(1, 2)))
    heard = db >= db.max(axis=(1, 2), keepdims=True) - 46.1
    np.testing.assert_allclose(back[heard], db[heard], atol=1e-4)


def test_what_lies_at_the_bottom_fades_to_the_floor_without_a_jump() -> None:
    x = np.linspace(0, 0.2, 201, dtype=np.float32).reshape(1, 1, -1)
    db = network_to_db(x, PEAK, peak_db=np.float32([-20]), floor_db=np.float32([-100]))[0, 0]
    assert db[0] == -100
    np.testing.assert_allclose(db[80], -66, atol=1e-3)  # 4 dB above the bottom: untouched from here on
    assert (np.diff(db) > 0).all()
    assert np.diff(db).max() < 1.0


def test_the_fade_ends_a_little_below_the_range_where_the_source_is_stiller() -> None:
    bottom = np.zeros((2, 1, 1), np.float32)
    levels = {"peak_db": np.float32([-20, -20]), "floor_db": np.float32([-100, -75])}
    db = network_to_db(bottom, {**PEAK, "fade_to_db": 60.0}, **levels)
    np.testing.assert_allclose(db[:, 0, 0], [-80, -75])  # never below the source's own floor


@pytest.mark.parametrize("scheme", [PEAK, MIN_MAX])
def test_silence_is_zeros_and_not_nan(scheme: dict[str, Any]) -> None:
    assert not db_to_network(np.full((2, 3, 4), -100, np.float32), scheme).any()


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ModelError, match="min-max or peak"):
        db_to_network(example_db(), {"scheme": "z-score"})
