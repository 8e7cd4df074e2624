from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from wavemill.audio.ogg import with_steady_number


def plain_checksum(page: bytes) -> int:
    """Ogg's checksum, a bit at a time, as RFC 3533 describes it."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
            value &= 0xFFFFFFFF
    return value


def written(subtype: str, *, seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    signal = np.random.default_rng(1).uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)
    with soundfile.SoundFile(file, "w", 16_000, 1, subtype=subtype, format="OGG") as sound:
        sound.write(signal)
    return file.getvalue()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_every_page_has_the_new_number_and_a_right_checksum(subtype: str) -> None:
    ogg = with_steady_number(written(subtype, seconds=5.0))
    starts = [at for at in range(len(ogg)) if ogg[at : at + 5] == b"OggS\0"]
    pages = [ogg[start:end] for start, end in zip(starts, [*starts[1:], len(ogg)], strict=True)]
    assert len(pages) > 3
    assert len({page[14:18] for page in pages}) == 1
    for page in pages:
        assert struct.unpack("<I", page[22:26])[0] == plain_checksum(page[:22] + bytes(4) + page[26:])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_the_sound_stays_and_different_sounds_have_different_numbers(subtype: str) -> None:
    before = written(subtype)
    after = with_steady_number(before)
    read = [soundfile.read(io.BytesIO(data))[0] for data in (before, after)]
    np.testing.assert_array_equal(*read)
    assert after[14:18] != with_steady_number(written(subtype, seconds=0.5))[14:18]
