from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wavemill.evaluation.likeness import Likeness, median_pitch_hz, roll_off_hz
from wavemill.presets import PRESETS, Features

NOTES = PRESETS["notes"]
MUSIC = PRESETS["music"]


def note(hz: float, features: Features, *, seconds: float = 1.0, amplitude: float = 0.2) -> np.ndarray:
    t = np.arange(round(seconds * features.sample_rate_hz)) / features.sample_rate_hz
    partials = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 6))
    return (amplitude * partials * np.exp(-2 * t)).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32)


@pytest.mark.parametrize("features", [NOTES, MUSIC, PRESETS["digits"]])
def test_nothing_lies_between_a_sound_and_itself(features: Features) -> None:
    sound = note(440, features)
    measured = Likeness([sound], features).of([sound])
    for measure in ("multi_resolution_db", "mel_cepstral_distortion_db", "loudness_difference_lu"):
        assert measured[measure] == pytest.approx([0], abs=1e-4)
    assert measured["bandwidth_ratio"] == pytest.approx([1])
    assert measured["pitch_right"].tolist() == [1]


def test_half_the_amplitude_differs_in_loudness_and_not_in_timbre() -> None:
    measured = Likeness([noise()], NOTES).of([noise() / 2])
    assert measured["loudness_difference_lu"] == pytest.approx([6.02], abs=0.05)
    assert measured["multi_resolution_db"] == pytest.approx([6.02], abs=0.1)
    assert measured["mel_cepstral_distortion_db"] == pytest.approx([0], abs=0.1)


def test_a_lost_octave_halves_the_bandwidth() -> None:
    spectrum = np.fft.rfft(noise())
    spectrum[4_000:] = 0
    low = np.fft.irfft(spectrum).astype(np.float32)
    assert Likeness([noise()], NOTES).of([low])["bandwidth_ratio"] == pytest.approx([0.5], abs=0.02)
    assert roll_off_hz(note(440, NOTES), 16_000) == pytest.approx(5 * 440, abs=600)


@pytest.mark.parametrize(("cents", "right"), [(0, 1), (40, 1), (-40, 1), (60, 0), (100, 0), (1_200, 0)])
def test_a_pitch_within_50_cents_is_right(cents: float, right: float) -> None:
    measured = Likeness([note(220, NOTES)], NOTES).of([note(220 * 2 ** (cents / 1_200), NOTES)])
    assert measured["pitch_right"].tolist() == [right]


def test_a_sound_that_lost_its_pitch_is_wrong_and_one_that_never_had_one_is_left_out() -> None:
    measured = Likeness([note(220, NOTES), noise()], NOTES).of([noise(1), noise(2)])
    assert measured["pitch_right"][0] == 0
    assert np.isnan(measured["pitch_right"][1])
    assert "pitch_right" not in Likeness([noise()], NOTES).of([noise(1)])
    assert median_pitch_hz(note(220, NOTES), 16_000) == pytest.approx(220, rel=0.01)


def test_silence_and_a_single_sample_have_no_figures_and_do_no_harm() -> None:
    silence, click = np.zeros(4_000, np.float32), np.ones(1, np.float32)
    measured = Likeness([silence, click], replace(NOTES)).of([silence, click])
    for values in measured.values():
        assert np.isnan(values[0])
