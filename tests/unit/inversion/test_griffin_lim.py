from __future__ import annotations

import librosa
import numpy as np
import pytest
from support.folding import flat_magnitude, folded_from_spectra, shaped_spectra, unfolded_signal

from wavemill.inversion.griffin_lim import polish, project, search
from wavemill.inversion.stft import stft_for
from wavemill.inversion.transforms import transforms_named

UNLIMITED = np.float32(np.inf)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("n_iter", [0, 1, 4, 5])
def test_iterations_are_those_of_librosa(signals, magnitudes, geometry, momentum, n_iter):
    wanted = magnitudes(signals["noise"][: 20 * geometry["hop_length"]], **geometry)[0]
    expected = librosa.griffinlim(wanted, **geometry, n_iter=n_iter, momentum=momentum, init=None)
    stft = stft_for(**geometry, n_frames=21)
    magnitude = flat_magnitude(stft, wanted)
    for iterate, arguments in (
        (search, (n_iter, momentum, UNLIMITED)),
        *([] if momentum else [(polish, (n_iter, UNLIMITED))]),
    ):
        folded = folded_from_spectra(stft, wanted.astype(np.complex64))  # librosa's init=None is phase 0
        iterate(stft, magnitude, folded, *arguments)
        assert np.linalg.norm(unfolded_signal(stft, folded) - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("transforms", ["simd", "scipy"])
def test_one_iteration_also_gives_the_error_of_the_magnitudes_before_it(signals, geometry, transforms):
    spectra = librosa.stft(signals["noise"][: 20 * geometry["hop_length"]], **geometry)
    stft = stft_for(**geometry, n_frames=21)
    wanted = np.abs(spectra) * np.random.default_rng(4).random(spectra.shape, np.float32)
    wanted[3] = 0  # counts as unknown
    once, usual = (folded_from_spectra(stft, spectra) for _ in range(2))
    error = transforms_named(transforms).polish_once(stft, flat_magnitude(stft, wanted), once)
    polish(stft, flat_magnitude(stft, wanted), usual, 1, UNLIMITED)
    missed = (np.abs(spectra) - wanted)[wanted > 0]
    assert error == pytest.approx(np.linalg.norm(missed) / np.linalg.norm(wanted), rel=1e-4)
    assert np.abs(once - usual).max() < 1e-5 * np.abs(usual).max()


def test_polishing_keeps_a_consistent_spectrogram(signals, geometry):
    spectra = librosa.stft(signals["sweep"][: 20 * geometry["hop_length"]], **geometry)
    stft = stft_for(**geometry, n_frames=21)
    magnitude = flat_magnitude(stft, np.abs(spectra))
    folded = folded_from_spectra(stft, spectra)
    polish(stft, magnitude, folded, 4, UNLIMITED)
    found = np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    project(stft, magnitude, folded, found)
    assert np.abs(shaped_spectra(stft, found) - spectra).max() < 1e-4 * np.abs(spectra).max()


def test_projected_spectra_have_the_wanted_magnitudes_and_the_phases_of_the_signal(signals, geometry):
    spectra = librosa.stft(signals["noise"][: 20 * geometry["hop_length"]], **geometry)
    stft = stft_for(**geometry, n_frames=21)
    wanted = np.random.default_rng(4).random(spectra.shape, np.float32)
    found = np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    project(stft, flat_magnitude(stft, wanted), folded_from_spectra(stft, spectra), found)
    expected = wanted * spectra / np.abs(spectra)
    heard = np.abs(spectra) > 1e-3 * np.abs(spectra).max()  # the phases of others are lost in rounding
    assert np.abs(shaped_spectra(stft, found) - expected)[heard].max() < 1e-3
    assert np.abs(np.abs(shaped_spectra(stft, found)) - wanted).max() < 1e-5
