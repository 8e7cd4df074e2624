from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.inversion import METHODS, invert


@pytest.fixture
def clips():
    return np.random.default_rng(0).random((4, 129, 12), np.float32)


def test_an_unknown_method_is_refused_with_the_names_of_the_others(clips):
    with pytest.raises(UsageError) as caught:
        invert(clips, n_fft=256, hop_length=64, method="magic")
    assert "'magic'" in str(caught.value)
    assert all(name in str(caught.value) for name in METHODS)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-1e-3, "negative")])
def test_a_clip_with_an_impossible_value_is_named(clips, value, word):
    clips[2, 7, 3] = value
    with pytest.raises(UsageError, match=f"clip 2: 1 {word} of 1548 values"):
        invert(clips, n_fft=256, hop_length=64)


def test_a_float64_value_beyond_float32_is_refused(clips):
    wide = clips.astype(np.float64)
    wide[1, 0, 0] = 1e300
    with pytest.raises(UsageError, match="clip 1: 1 infinite"):
        invert(wide, n_fft=256, hop_length=64)


@pytest.mark.parametrize("peaks", [[1.0] * 3, 1.0, [1.0, 0.0, 1.0, 1.0], [1.0, -0.5, 1.0, 1.0]])
def test_impossible_peaks_are_refused(clips, peaks):
    with pytest.raises(UsageError, match="expected peaks"):
        invert(clips, n_fft=256, hop_length=64, peaks=peaks)


@pytest.mark.parametrize("shape", [(129, 12), (4, 128, 12), (4, 129, 0), (4, 12, 129), (1, 4, 129, 12)])
def test_a_wrong_shape_is_refused_with_the_right_one(shape):
    with pytest.raises(UsageError, match=r"\(batch, 129, frames\)"):
        invert(np.ones(shape, np.float32), n_fft=256, hop_length=64)


def test_complex_spectra_are_refused(clips):
    with pytest.raises(UsageError, match="complex64"):
        invert(clips.astype(np.complex64), n_fft=256, hop_length=64)


@pytest.mark.parametrize("hop_length", [0, -1, 129, 256])
def test_less_than_half_overlap_is_refused(clips, hop_length):
    with pytest.raises(UsageError, match="hop_length from 1 to n_fft / 2 = 128"):
        invert(clips, n_fft=256, hop_length=hop_length)


@pytest.mark.parametrize("n_fft", [0, 2, 257])
def test_an_odd_or_tiny_n_fft_is_refused(clips, n_fft):
    with pytest.raises(UsageError, match="even n_fft"):
        invert(clips, n_fft=n_fft, hop_length=1)


@pytest.mark.parametrize("wrong", [{"length": -1}, {"n_iter": -1}, {"n_threads": 0}, {"method": "pghi", "n_iter": 2}])
def test_impossible_counts_are_refused(clips, wrong):
    with pytest.raises(UsageError, match=next(reversed(wrong))):
        invert(clips, n_fft=256, hop_length=64, **wrong)


@pytest.mark.parametrize("method", METHODS)
def test_a_short_length_cuts_the_waveform(clips, method):
    whole = invert(clips, n_fft=256, hop_length=64, method=method)
    assert whole.shape == (4, 11 * 64)
    for length in (0, 1, 300, 704):
        waveforms = invert(clips, n_fft=256, hop_length=64, method=method, length=length)
        assert waveforms.dtype == np.float32
        assert np.array_equal(waveforms, whole[:, :length])


@pytest.mark.parametrize("method", METHODS)
def test_a_long_length_is_filled_as_far_as_the_frames_reach(clips, method):
    longest = invert(clips, n_fft=256, hop_length=64, method=method, length=767)  # 12 frames are of 767 at most
    assert longest[:, 704:].any(axis=1).all()
    for length in (768, 5_000):
        waveforms = invert(clips, n_fft=256, hop_length=64, method=method, length=length)
        assert waveforms.shape == (4, length)
        assert np.array_equal(waveforms[:, :767], longest)
        assert not waveforms[:, 767:].any()


def test_a_recording_longer_than_its_frames_keeps_its_last_samples(magnitudes):
    sound = (0.1 * np.random.default_rng(2).standard_normal(16_317)).astype(np.float32)
    wanted = magnitudes(sound, n_fft=512, hop_length=256)
    waveform = invert(wanted, n_fft=512, hop_length=256, length=16_317)[0]
    assert wanted.shape[2] == 64  # centred on samples 0 to 16,128
    level = np.sqrt(np.mean(sound**2))
    assert np.sqrt(np.mean(waveform[16_128:16_250] ** 2)) == pytest.approx(level, rel=0.3)


def test_without_a_length_the_waveform_ends_at_the_last_frame(clips):
    assert invert(clips, n_fft=256, hop_length=64).shape == (4, 11 * 64)


def test_an_empty_batch_gives_an_empty_batch():
    assert invert(np.empty((0, 129, 12), np.float32), n_fft=256, hop_length=64).shape == (0, 704)
