from __future__ import annotations

import numpy as np
import pytest

from wavemill.inversion.phases import TURN, scattered, spectra_of


def test_spectra_are_the_complex_exponential():
    phases = np.linspace(-(2**31), 2**31 - 1, 6_400).astype(np.int32)
    magnitude = np.linspace(0, 2, 6_400, dtype=np.float32)
    expected = magnitude * np.exp(2j * np.pi * (phases.astype(np.float64) / TURN))
    found = np.full(2 * 6_400 + 64, 7, np.float32)
    spectra_of(magnitude, phases, 32, found)
    real, imag = np.moveaxis(found[:12_800].reshape(200, 2, 32), 1, 0)
    assert np.abs(real.ravel() + 1j * imag.ravel() - expected).max() < 2e-6
    assert not found[12_800:].any()


def test_scattered_phases_fill_the_circle_evenly_and_without_correlation():
    turns = scattered(129, 200) / TURN
    counts = np.histogram(turns, bins=20, range=(0, 1))[0]
    assert counts.sum() == turns.size
    assert np.abs(counts / turns.size - 0.05).max() < 0.005
    arrows = np.exp(2j * np.pi * turns)
    for shifted in (arrows[1:] * arrows[:-1].conj(), arrows[:, 1:] * arrows[:, :-1].conj()):
        assert abs(shifted.mean()) < 0.02


def test_a_bin_is_scattered_alike_in_spectrograms_of_any_size():
    assert np.array_equal(scattered(129, 40)[:65, :9], scattered(65, 9))
    with pytest.raises(ValueError, match="read-only"):
        scattered(65, 9)[0, 0] = 0
