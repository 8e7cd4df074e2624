from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio.encoding import encode
from wavemill.audio.long_sound import write_long
from wavemill.errors import AudioError
from wavemill.operations.formats import FORMATS


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("level", [0.3, 3.0, 0.0])
def test_blocks_are_written_as_the_whole_would_be(tmp_path: Path, level: float, form: str) -> None:
    signal = (level * np.sin(np.arange(10_000) * 0.3)).astype(np.float32)
    blocks = [signal[:0], signal[:3_000], signal[3_000:]]
    written = write_long(blocks, tmp_path / "a.large", 8_000, form=form, comment="hello")
    whole = encode(signal, 8_000, form=form, comment="hello")
    assert written.path.read_bytes() == whole.data
    measured = {name: value for name, value in asdict(whole).items() if name != "data"}
    assert {name: getattr(written, name) for name in measured} == pytest.approx(measured)
    assert [path.name for path in tmp_path.iterdir()] == ["a.large"]


@pytest.mark.parametrize(("rate_hz", "output_hz"), [(44_100, 16_000), (8_000, 48_000)])
def test_blocks_are_resampled_as_the_whole_would_be(tmp_path: Path, rate_hz: int, output_hz: int) -> None:
    signal = (0.3 * np.sin(np.arange(100_003) * 0.3)).astype(np.float32)
    blocks = [signal[:10], signal[10:40_000], signal[40_000:]]
    written = write_long(blocks, tmp_path / "a.large", rate_hz, form="float", output_rate_hz=output_hz)
    whole = encode(signal, rate_hz, form="float", output_rate_hz=output_hz)
    assert (written.sample_rate_hz, written.duration_s) == (output_hz, whole.duration_s)
    first, second = (soundfile.read(file, dtype="float32")[0] for file in (written.path, io.BytesIO(whole.data)))
    np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)], [np.full(3, np.nan, np.float32)]])
def test_no_samples_or_no_numbers_are_refused(tmp_path: Path, blocks: list[np.ndarray]) -> None:
    with pytest.raises(AudioError, match="expected a waveform"):
        write_long(blocks, tmp_path / "a.large", 8_000)
    assert not list(tmp_path.iterdir())
