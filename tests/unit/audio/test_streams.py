from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio.load import load_recording
from wavemill.errors import AudioError
from wavemill.presets import preset

DIGITS = preset("digits")
SOUND = (0.3 * np.sin(np.arange(4_800) * 0.3)).astype(np.float32)  # 0.6 s: shorter than the preset keeps
Change = Callable[[bytearray], object]


def put(layout: str, number: int, *, behind: bytes, skip: int) -> Change:
    """Overwrite a number that stands `skip` bytes behind the last occurrence of a name."""
    return lambda data: struct.pack_into(layout, data, data.rfind(behind) + skip, number)


def riff_and_data(number: int) -> Change:
    def change(data: bytearray) -> None:
        struct.pack_into("<I", data, 4, number)
        struct.pack_into("<I", data, data.find(b"data") + 4, number)

    return change


def flac_total(total: int) -> Change:
    """The lowest 36 bits of bytes 18 to 25 of a FLAC count its samples."""
    return lambda data: struct.pack_into(">Q", data, 18, struct.unpack_from(">Q", data, 18)[0] >> 36 << 36 | total)


@pytest.mark.parametrize(
    ("container", "change"),
    [
        ("FLAC", flac_total(0)),
        ("FLAC", flac_total(2**36 - 1)),
        ("FLAC", flac_total(4_801)),
        ("WAV", riff_and_data(0)),
        ("WAV", riff_and_data(0xFFFFFFFF)),  # ffmpeg
        ("WAV", riff_and_data(0x7FFFF000)),  # sox
        ("WAVEX", riff_and_data(0)),
        ("RF64", put("<Q", 0, behind=b"ds64", skip=16)),
        ("RF64", put("<Q", 2**64 - 1, behind=b"ds64", skip=16)),
        ("W64", put("<Q", 0, behind=b"data", skip=16)),
        ("W64", put("<Q", 2**64 - 1, behind=b"data", skip=16)),
        ("AU", put(">I", 0, behind=b".snd", skip=8)),
        ("AU", put(">I", 0xFFFFFFFF, behind=b".snd", skip=8)),
        ("CAF", put(">q", -1, behind=b"data", skip=4)),
        ("AIFF", put(">I", 0, behind=b"SSND", skip=4)),
    ],
)
def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path, container: str, change: Change) -> None:
    whole, stream = tmp_path / "whole.wav", tmp_path / "stream.wav"
    soundfile.write(whole, SOUND, 8_000, subtype="PCM_16", format=container)
    data = bytearray(whole.read_bytes())
    change(data)
    stream.write_bytes(data)
    loaded = load_recording(stream, DIGITS)
    np.testing.assert_array_equal(loaded.signal, load_recording(whole, DIGITS).signal)
    assert (len(loaded.signal), loaded.cut) == (4_800, False)


def test_of_an_endless_stream_only_the_start_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    soundfile.write(path, SOUND, 8_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    riff_and_data(0)(data)
    with path.open("wb") as file:
        file.write(data)
        file.truncate(2**32)  # sparse: far more than a test's memory
    loaded = load_recording(path, DIGITS)
    assert (len(loaded.signal), loaded.cut) == (DIGITS.n_samples, True)


def test_chunks_behind_no_samples_are_not_taken_for_sound(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 8_000, subtype="PCM_16")
    comment = b"INFOICMT\x06\0\0\0silent"
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", len(comment)) + comment)
    with pytest.raises(AudioError, match="without samples"):
        load_recording(path, DIGITS)


def test_a_damaged_stream_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "half.flac"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 9_600), 8_000)
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(AudioError, match=r"^half\.flac: not readable as sound: .*; copy or export the file again$"):
        load_recording(path, DIGITS)
