from __future__ import annotations

import numpy as np
import pytest

from wavemill.inversion.phases import scattered_turns, spectra


def test_spectra_are_the_complex_exponential():
    turns = np.linspace(-3, 3, 6_001, dtype=np.float32).reshape(1, -1)
    magnitude = np.linspace(0, 2, 6_001, dtype=np.float32).reshape(1, -1)
    expected = magnitude * np.exp(2j * np.pi * turns.astype(np.float64))
    found = spectra(magnitude, turns)
    assert found.dtype == np.complex64
    assert np.abs(found - expected).max() < 2e-6


def test_scattered_phases_fill_the_circle_evenly_and_without_correlation():
    turns = scattered_turns((200, 129)).astype(np.float64)
    counts = np.histogram(turns, bins=20, range=(-0.5, 0.5))[0]
    assert counts.sum() == turns.size
    assert np.abs(counts / turns.size - 0.05).max() < 0.005
    arrows = np.exp(2j * np.pi * turns)
    for shifted in (arrows[1:] * arrows[:-1].conj(), arrows[:, 1:] * arrows[:, :-1].conj()):
        assert abs(shifted.mean()) < 0.02


def test_a_bin_is_scattered_alike_in_spectrograms_of_any_size():
    assert np.array_equal(scattered_turns((40, 129))[:9, :65], scattered_turns((9, 65)))
    with pytest.raises(ValueError, match="read-only"):
        scattered_turns((9, 65))[0, 0] = 0
