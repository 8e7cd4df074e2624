from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from wavemill.audio.long_sound import write_long
from wavemill.audio.wav import encode
from wavemill.errors import AudioError


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
@pytest.mark.parametrize("level", [0.3, 3.0, 0.0])
def test_blocks_are_written_as_the_whole_would_be(tmp_path: Path, level: float, container: str) -> None:
    signal = (level * np.sin(np.arange(10_000) * 0.3)).astype(np.float32)
    blocks = [signal[:0], signal[:3_000], signal[3_000:]]
    written = write_long(blocks, tmp_path / "a.large", 8_000, container=container, comment="hello")
    whole = encode(signal, 8_000, container=container, comment="hello")
    assert written.path.read_bytes() == whole.data
    measured = {name: value for name, value in asdict(whole).items() if name != "data"}
    assert {name: getattr(written, name) for name in measured} == pytest.approx(measured)
    assert [path.name for path in tmp_path.iterdir()] == ["a.large"]


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)], [np.full(3, np.nan, np.float32)]])
def test_no_samples_or_no_numbers_are_refused(tmp_path: Path, blocks: list[np.ndarray]) -> None:
    with pytest.raises(AudioError, match="expected a waveform"):
        write_long(blocks, tmp_path / "a.large", 8_000)
    assert not list(tmp_path.iterdir())
