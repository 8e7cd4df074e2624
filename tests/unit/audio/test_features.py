from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wavemill.audio.features import denormalise, extract, normalise, pad_or_cut, to_magnitude
from wavemill.presets import PRESETS, Features, preset

every_preset = pytest.mark.parametrize("features", PRESETS.values(), ids=PRESETS)
every_stft_preset = pytest.mark.parametrize(
    "features", [features for features in PRESETS.values() if features.kind == "stft-db"], ids=lambda f: f.preset
)


def chirp(features: Features) -> np.ndarray:
    time_s = np.arange(features.n_samples) / features.sample_rate_hz
    noise = np.random.default_rng(7).normal(0.0, 0.01, features.n_samples)
    return (0.4 * np.sin(2 * np.pi * (200 + 1_500 * time_s) * time_s) + noise).astype(np.float32)


def test_padding_is_on_the_right_and_cutting_keeps_the_start() -> None:
    signal = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    np.testing.assert_array_equal(pad_or_cut(signal, 5), [1.0, 2.0, 3.0, 0.0, 0.0])
    np.testing.assert_array_equal(pad_or_cut(signal, 2), [1.0, 2.0])
    assert pad_or_cut(signal, 5).dtype == np.float32


@every_stft_preset
def test_a_spectrogram_has_the_numbers_of_librosa(features: Features) -> None:
    signal = chirp(features)
    stft = librosa.stft(signal, n_fft=features.n_fft, hop_length=features.hop_length)[: features.n_bins]
    expected = librosa.amplitude_to_db(np.abs(stft), top_db=features.range_db)
    db = extract(signal, features)
    assert (db.shape, db.dtype) == (features.shape, np.float32)
    np.testing.assert_array_equal(db, expected)
    assert db.max() - db.min() == pytest.approx(features.range_db, abs=1e-4)


def test_a_full_scale_tone_has_half_the_window_sum_as_magnitude() -> None:
    # A Hann window of N samples sums to N / 2; half of a real tone's amplitude is at its positive frequency.
    features = preset("digits")
    tone = np.cos(2 * np.pi * 1_000 / 8_000 * np.arange(features.n_samples)).astype(np.float32)
    db = extract(tone, features)
    assert db[32, 64] == pytest.approx(20 * np.log10(features.n_fft / 4), abs=1e-3)


@every_preset
def test_normalising_and_back_is_exact_within_float32(features: Features) -> None:
    db = extract(chirp(features), features)
    x, min_db, max_db = normalise(db)
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (0.0, 1.0)
    np.testing.assert_allclose(denormalise(x, min_db, max_db), db, atol=2e-5, rtol=0)


def test_a_silent_clip_becomes_zeros_not_nan() -> None:
    features = preset("digits")
    x, min_db, max_db = normalise(extract(np.zeros(features.n_samples, dtype=np.float32), features))
    np.testing.assert_array_equal(x, np.zeros(features.shape))
    assert min_db == max_db == pytest.approx(-100.0)


def test_a_batch_is_denormalised_each_with_its_own_range() -> None:
    x = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    min_db, max_db = np.array([-60.0, -70.0, -80.0]), np.array([20.0, 10.0, 0.0])
    batched = denormalise(x, min_db, max_db)
    assert batched.dtype == np.float32
    for k in range(3):
        np.testing.assert_array_equal(batched[k], denormalise(x[k], min_db[k], max_db[k]))
    np.testing.assert_allclose(batched[1], x[1] * 80 - 70, atol=1e-5)


@every_stft_preset
@pytest.mark.parametrize("leading", [(), (2,)])
def test_magnitudes_get_the_dropped_rows_back_as_zeros(features: Features, leading: tuple[int, ...]) -> None:
    db = np.broadcast_to(extract(chirp(features), features), (*leading, *features.shape))
    magnitude = to_magnitude(db, features)
    assert magnitude.shape == (*leading, features.n_fft // 2 + 1, features.n_frames)
    assert magnitude.dtype == np.float32
    np.testing.assert_allclose(magnitude[..., : features.n_bins, :], librosa.db_to_amplitude(db), rtol=2e-5)
    assert not magnitude[..., features.n_bins :, :].any()


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (4, 3), elements=st.floats(-100, 60, width=32)))
def test_any_finite_spectrogram_survives_the_round_trip(db: np.ndarray) -> None:
    x, min_db, max_db = normalise(db)
    assert np.isfinite(x).all()
    assert x.min() >= 0.0
    assert x.max() <= 1.0
    np.testing.assert_allclose(denormalise(x, min_db, max_db), db, atol=5e-5, rtol=0)
