"""Spectrograms become sound at the level of their source."""

from __future__ import annotations

import numpy as np
import pytest

from wavemill.audio.encoding import encode
from wavemill.audio.features import extract, to_magnitude
from wavemill.inversion import invert
from wavemill.presets import Features, preset, samples_of
from wavemill.synthesis.sound import spectrograms_to_audio


@pytest.fixture
def features() -> Features:
    return preset("digits")


def _limited_hit(features: Features, peak: float) -> np.ndarray:
    """Return a drum hit that a limiter has brought to `peak`, float32 [shape=(samples,)]."""
    rng, n_samples = np.random.default_rng(3), samples_of(features, features.n_frames)
    envelope = np.exp(-np.arange(n_samples) / 800)
    return np.float32(peak * np.clip(1.2 * envelope * rng.standard_normal(n_samples), -1, 1))


def _level_db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=np.float64))))


def test_a_sound_whose_source_is_at_full_scale_keeps_its_level(features: Features) -> None:
    hit = _limited_hit(features, 1.0)

    [sound] = spectrograms_to_audio([extract(hit, features)], features, peaks=[1.0])

    encoded = encode(sound, features.sample_rate_hz)
    assert encoded.gain == pytest.approx(0.99)
    assert encoded.rms_dbfs == pytest.approx(_level_db(hit), abs=0.5)


def test_a_source_above_full_scale_is_scaled_by_its_own_peak(features: Features) -> None:
    [sound] = spectrograms_to_audio([extract(_limited_hit(features, 1.5), features)], features, peaks=[1.5])

    assert encode(sound, features.sample_rate_hz).gain == pytest.approx(0.99 / 1.5)


def test_a_sound_that_a_file_holds_is_not_limited(features: Features) -> None:
    spectrogram = extract(_limited_hit(features, 0.5), features)

    [sound] = spectrograms_to_audio([spectrogram], features, peaks=[0.5])

    assert 0.5 < np.abs(sound).max() < 0.99


def test_samples_are_left_as_the_integration_makes_them(features: Features) -> None:
    hit = extract(_limited_hit(features, 1.0), features)
    sizes = {"n_fft": features.n_fft, "hop_length": features.hop_length, "length": features.n_samples}
    magnitude = to_magnitude(hit[None], features)
    integrated, iterated = invert(magnitude, method="pghi", **sizes)[0], invert(magnitude, **sizes)[0]
    assert not np.allclose(integrated, iterated, atol=0.01)

    drawn, sourced = spectrograms_to_audio([hit, hit], features, are_samples=[True, False])

    assert np.array_equal(drawn, integrated)
    assert np.array_equal(sourced, iterated)
    assert np.array_equal(spectrograms_to_audio([hit], features)[0], sourced)
