from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
import soundfile

CLIPS = sorted(Path(str(files("wavemill") / "demo")).glob("*.wav"))


def test_two_voices_say_each_digit_and_the_files_stay_small() -> None:
    assert [path.name[0] for path in CLIPS] == [str(digit) for digit in range(10) for _ in range(2)]
    assert all(re.fullmatch(r"\d_[a-z]+_0\.wav", path.name) for path in CLIPS)
    assert sum(path.stat().st_size for path in CLIPS) < 400_000
    assert (CLIPS[0].parent / "README.md").exists()


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_each_clip_is_a_short_audible_8_khz_wav(path: Path) -> None:
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.format, info.subtype) == (8_000, 1, "WAV", "PCM_16")
    assert 0.2 < info.duration < 1.0
    signal, _ = soundfile.read(path)
    assert 0.6 < abs(signal).max() < 0.8
