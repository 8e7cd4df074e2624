from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.evaluation.pocketsphinx import hear_digits

pytest.importorskip("pocketsphinx")


def test_spoken_digits_are_heard_alone_as_among_others(clips: Path) -> None:
    files = sorted(clips.glob("*.wav"))
    sounds = [soundfile.read(file, dtype="float32")[0] for file in files]
    heard = hear_digits(sounds, 8_000)
    assert heard is not None
    right = [file.name[0] == digit for file, digit in zip(files, heard, strict=True)]
    assert np.mean(right) > 0.5  # a tenth by chance
    assert hear_digits(sounds[7:8], 8_000) == heard[7:8]


def test_silence_and_loudness_do_no_harm(clips: Path) -> None:
    seven = soundfile.read(clips / "7_anna_0.wav", dtype="float32")[0]
    loud, soft, _ = hear_digits([seven * 30, seven / 30, np.zeros(4_000, np.float32)], 8_000) or []
    assert loud == soft
