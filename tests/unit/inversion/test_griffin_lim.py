from __future__ import annotations

import librosa
import numpy as np
import pytest

from wavemill.inversion.griffin_lim import polish, search
from wavemill.inversion.stft import stft_for


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_iterations_are_those_of_librosa(signals, magnitudes, geometry, momentum):
    whole = 20 * geometry["hop_length"]
    wanted = magnitudes(signals["noise"][:whole], **geometry)[0]
    expected = librosa.griffinlim(wanted, **geometry, n_iter=5, momentum=momentum, init=None)
    magnitude = np.ascontiguousarray(wanted.T)
    stft = stft_for(**geometry, n_frames=21)
    start = magnitude.astype(np.complex64)  # librosa's init=None is phase 0
    by_search = stft.synthesize(search(stft, magnitude, start, n_iter=5, momentum=momentum))
    assert np.linalg.norm(by_search - expected) < 1e-3 * np.linalg.norm(expected)
    if momentum == 0:
        by_polish = stft.synthesize(polish(stft, magnitude, start, n_iter=5))
        assert np.linalg.norm(by_polish - expected) < 1e-3 * np.linalg.norm(expected)


def test_polishing_keeps_a_consistent_spectrogram(signals, geometry):
    whole = 20 * geometry["hop_length"]
    spectra = np.ascontiguousarray(librosa.stft(signals["sweep"][:whole], **geometry).T)
    stft = stft_for(**geometry, n_frames=21)
    polished = polish(stft, np.abs(spectra), spectra, n_iter=4)
    assert np.abs(polished - spectra).max() < 1e-4 * np.abs(spectra).max()
