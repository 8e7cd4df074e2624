from __future__ import annotations

import librosa
import numpy as np
import pytest
from support.folding import flat_magnitude

from wavemill.inversion.pghi import integrate
from wavemill.inversion.phases import TURN, UNKNOWN, scattered
from wavemill.inversion.stft import stft_for


def integrated(magnitude, *, floor_db=-60.0, known=None, **geometry):
    """Phases (F, T) in turns."""
    stft = stft_for(**geometry, n_frames=magnitude.shape[1])
    peak = float(magnitude.max())
    phases = integrate(
        stft,
        flat_magnitude(stft, magnitude),
        n_rows=stft.n_rows,
        peak=peak,
        floor=peak * 10 ** (floor_db / 20),
        known=np.empty((stft.n_rows, 0), np.int32) if known is None else known,
    )
    return phases.reshape(stft.n_rows, -1)[:, : stft.n_frames] / TURN


def wrapped(turns):
    return np.abs(turns - np.round(turns))


@pytest.mark.parametrize("name", ["tone", "sweep"])
@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_differ_in_phase_as_in_the_recording(signals, name, axis):
    geometry = {"n_fft": 256, "hop_length": 32}
    spectra = librosa.stft(signals[name], **geometry)[:, 20:-20]
    magnitude = np.abs(spectra)
    error = wrapped(np.diff(integrated(magnitude, **geometry) - np.angle(spectra) / (2 * np.pi), axis=axis))
    loud = magnitude > magnitude.max() * 10 ** (-20 / 20)
    both = loud[1:] & loud[:-1] if axis == 0 else loud[:, 1:] & loud[:, :-1]
    assert both.sum() > 200
    assert np.percentile(error[both], 95) < 0.07  # of random phases, 0.48


def test_a_silent_gap_parts_two_regions_and_each_is_integrated(signals):
    geometry = {"n_fft": 256, "hop_length": 32}
    spectra = librosa.stft(signals["tone"], **geometry)
    magnitude = np.abs(spectra)
    magnitude[:, 90:110] = 0
    phases = integrated(magnitude, **geometry)
    error = wrapped(np.diff(phases - np.angle(spectra) / (2 * np.pi), axis=1))[32]  # the tone's row
    assert error[20:85].max() < 0.03
    assert error[115:180].max() < 0.03


def test_bins_at_the_floor_keep_their_scattered_phases(signals, magnitudes):
    geometry = {"n_fft": 256, "hop_length": 64}
    wanted = magnitudes(signals["buzz"], **geometry)[0]
    floor = wanted.max() * 10 ** (-40 / 20)
    phases = integrated(wanted, floor_db=-40, **geometry)
    expected = scattered(129, wanted.shape[1]) / TURN
    quiet = wanted < 0.999 * floor
    assert 0.1 < quiet.mean() < 0.9
    assert np.array_equal(phases[quiet], expected[quiet])
    assert (phases[~quiet & (wanted > 1.001 * floor)] != expected[~quiet & (wanted > 1.001 * floor)]).mean() > 0.99


def test_rows_of_a_single_frame_differ_by_half_a_turn():
    """Without a slope along time a frame is a pulse at its window's centre, half a window after the origin."""
    magnitude = np.random.default_rng(3).random((33, 1), np.float32) + np.float32(0.5)
    phases = integrated(magnitude, n_fft=64, hop_length=16)
    assert wrapped(np.diff(phases, axis=0) - 0.5).max() < 1e-6


def test_integration_goes_on_from_known_phases(signals, magnitudes):
    geometry = {"n_fft": 256, "hop_length": 64}
    magnitude = magnitudes(signals["sweep"], **geometry)[0]
    before = integrated(magnitude, **geometry)
    turn = np.int32(TURN // 3)
    known = np.round(before[:, :6] * TURN).astype(np.int32) + turn
    known[:, 3] = UNKNOWN
    after = integrated(magnitude, known=known, **geometry)
    heard = magnitude > 0.01 * magnitude.max()
    assert np.abs(after[:, :3] * TURN - known[:, :3]).max() == 0
    assert np.median(wrapped(after - before - 1 / 3)[heard]) < 0.02  # all phases have moved with them
