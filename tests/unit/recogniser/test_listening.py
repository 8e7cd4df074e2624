from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from wavemill.presets import PRESETS
from wavemill.recogniser.listening import Listening

LISTENING = Listening()


def test_a_picture_does_not_depend_on_the_level(clips: Path) -> None:
    seven = soundfile.read(clips / "7_anna_0.wav", dtype="float32")[0]
    loud, soft = LISTENING.pictures([seven, seven / 50], 8_000)
    assert loud.shape == LISTENING.shape
    assert loud.max() == 1
    assert loud == pytest.approx(soft, abs=1e-3)


def test_a_tone_is_bright_in_its_band_and_its_range_is_limited() -> None:
    t = np.arange(8_128) / 8_000
    (picture,) = LISTENING.pictures([np.sin(2 * np.pi * 1_000 * t).astype(np.float32)], 8_000)
    centres = librosa.mel_frequencies(LISTENING.n_bands + 2, fmax=4_000)[1:-1]
    assert abs(centres[picture[:, 50].argmax()] - 1_000) < 60
    assert picture[-1, 50] == 0


def test_sounds_at_another_rate_look_alike(clips: Path) -> None:
    seven = soundfile.read(clips / "7_anna_0.wav", dtype="float32")[0]
    finer = librosa.resample(seven, orig_sr=8_000, target_sr=22_050)
    one, two = LISTENING.pictures([seven], 8_000), LISTENING.pictures([finer], 22_050)
    assert np.abs(one - two)[:, :-5].mean() < 0.01


def test_silence_and_emptiness_are_dark() -> None:
    pictures = LISTENING.pictures([np.zeros(800, np.float32), np.zeros(0, np.float32)], 8_000)
    assert not pictures.any()


def test_for_digits_the_pictures_are_those_of_the_shipped_recogniser() -> None:
    assert Listening.suited_to(PRESETS["digits"]) == Listening()
    assert Listening.suited_to(PRESETS["notes"]).shape[0] == 80
