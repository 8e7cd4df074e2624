from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.errors import AudioError, NotFoundError
from wavemill.presets import preset
from wavemill.recogniser.recordings import Recordings

DIGITS = preset("digits")


def test_recordings_are_those_that_a_build_would_find(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("7_ann_0.wav", "sub/7_bob_0.flac"):
        soundfile.write(tmp_path / name, np.full(100, 0.1), 8_000)
    (tmp_path / "._7_ann_0.wav").write_bytes(b"\0\5\26\7")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "20260101-120000-1a2b3c4d/generated").mkdir(parents=True)
    soundfile.write(tmp_path / "20260101-120000-1a2b3c4d/generated/7_ann_0.wav", np.full(100, 0.1), 8_000)
    assert Recordings(tmp_path).ids == ["7_ann_0", "sub/7_bob_0"]


def test_a_file_that_cannot_be_read_does_not_hide_a_good_one_of_the_same_id(tmp_path: Path) -> None:
    for name in ("a.aiff", "a.flac", "b.wav"):
        (tmp_path / name).write_text("no sound")
    soundfile.write(tmp_path / "a.wav", np.full(100, 0.1), 8_000)
    recordings = Recordings(tmp_path)
    assert len(recordings.read("a", DIGITS)) == 100
    with pytest.raises(AudioError, match=r"^b\.wav: not readable"):
        recordings.read("b", DIGITS)


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFoundError, match="holds no recordings"):
            Recordings(folder)
