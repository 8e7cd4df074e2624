from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.signal
from support.folding import folded_signal, signal_from_spectra, spectra_of_signal, unfolded_signal

from wavemill.inversion.stft import stft_for

NAMES = ["tone", "sweep", "buzz", "noise"]


def transform(n_fft, hop_length, size):
    return stft_for(n_fft, hop_length, 1 + size // hop_length, size)


@pytest.mark.parametrize("name", NAMES)
def test_spectra_are_those_of_librosa(signals, geometry, name):
    expected = librosa.stft(signals[name], **geometry)
    spectra = spectra_of_signal(transform(**geometry, size=signals[name].size), signals[name])
    assert spectra.shape == expected.shape
    assert np.abs(spectra - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_true_phases_give_the_recording_back(signals, geometry, name):
    stft = transform(**geometry, size=signals[name].size)
    rebuilt = signal_from_spectra(stft, librosa.stft(signals[name], **geometry))
    assert stft.n_samples == signals[name].size
    whole = (stft.n_frames - 1) * geometry["hop_length"]  # all of it, but for what is clamped
    assert np.abs(rebuilt[:whole] - signals[name][:whole]).max() < 1e-6


def test_arbitrary_spectra_give_the_signal_of_librosa_and_scipy(geometry):
    n_fft, hop_length = geometry["n_fft"], geometry["hop_length"]
    random = np.random.default_rng(3)
    spectra = random.standard_normal((n_fft // 2 + 1, 20, 2)).astype(np.float32).view(np.complex64)[..., 0]
    rebuilt = signal_from_spectra(stft_for(n_fft, hop_length, 20), spectra)[: 19 * hop_length]
    spectra.imag[[0, -1]] = 0  # no real signal has others
    by_librosa = librosa.istft(spectra, n_fft=n_fft, hop_length=hop_length)
    assert np.abs(rebuilt - by_librosa).max() < 1e-5 * np.abs(by_librosa).max()
    window = scipy.signal.get_window("hann", n_fft)
    oracle = scipy.signal.ShortTimeFFT(window, hop_length, fs=1, phase_shift=None)
    # ShortTimeFFT's slices include those that begin before the first sample; place ours among them as zeros.
    before = -oracle.p_min
    after = max(oracle.p_max(19 * hop_length) - 20, 0)
    padded = np.pad(spectra, ((0, 0), (before, after)))
    by_scipy = oracle.istft(padded, k1=19 * hop_length)
    inner = slice(n_fft, 19 * hop_length - n_fft)  # where no zero slice takes part in scipy's dual window
    assert np.abs(rebuilt - by_scipy)[inner].max() < 1e-5 * np.abs(by_scipy).max()


def test_no_sample_at_the_cut_end_is_amplified_more_than_four_times(geometry):
    stft = stft_for(**geometry, n_frames=12, length=10**9)
    assert stft.n_samples == 12 * geometry["hop_length"] - 1
    weight = unfolded_signal(stft, stft.weight) * stft.n_fft / 2
    usual = 8 / 3 * geometry["hop_length"] / geometry["n_fft"]
    assert weight.max() <= 4.001 * usual
    assert weight[: 11 * geometry["hop_length"]].max() <= 2.001 * usual  # and none before it more than twice


def test_a_shape_has_one_transform():
    assert stft_for(256, 64, 9) is stft_for(256, 64, 9)


def test_a_folded_signal_unfolds_to_itself(signals, geometry):
    stft = transform(**geometry, size=6_400)
    assert np.array_equal(unfolded_signal(stft, folded_signal(stft, signals["noise"])), signals["noise"])
