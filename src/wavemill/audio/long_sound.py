"""Writes a waveform that comes in blocks to a sound file: hours of it in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from wavemill.arrays import FloatArray
from wavemill.audio.wav import STEP, gain_for, level_dbfs
from wavemill.errors import AudioError

_BLOCK_SAMPLES = 2**20


@dataclass(frozen=True, kw_only=True)
class WrittenAudio:
    """A sound file on disk, and the measurements of `EncodedAudio`."""

    path: Path
    duration_s: float
    peak: float
    rms_dbfs: float
    gain: float
    clipped: int
    silent: bool


def write_long(
    blocks: Iterable[FloatArray],
    path: Path,
    sample_rate_hz: int,
    *,
    subtype: str = "PCM_16",
    container: str = "WAV",
    comment: str = "",
) -> WrittenAudio:
    """Write a waveform to a sound file, below full scale; see `wavemill.audio.wav.encode`.

    Beside the file lie its raw samples while it is written, 4 bytes each.

    Parameters
    ----------
    blocks : iterable of float32 [shape=(samples,)]
        Full scale is 1.0.

    Raises
    ------
    AudioError
        A block holds NaN or infinity, or there are no samples.
    OSError
        The file cannot be written.
    """
    raw = path.with_name(f"{path.name}.raw")
    try:
        peak = _write_raw(blocks, raw)
        gain = gain_for(peak)
        n_samples, power, clipped = 0, 0.0, 0
        with soundfile.SoundFile(path, "w", sample_rate_hz, 1, subtype=subtype, format=container) as sound:
            if comment:
                sound.comment = comment
            for signal in _read_raw(raw):
                scaled = signal if gain == 1.0 else np.asarray(signal * gain, np.float32)
                sound.write(scaled)
                n_samples += len(scaled)
                power += float(np.dot(scaled, scaled))
                clipped += int(np.count_nonzero(np.abs(scaled) > 1.0))
    finally:
        raw.unlink(missing_ok=True)
    return WrittenAudio(
        path=path,
        duration_s=n_samples / sample_rate_hz,
        peak=peak,
        rms_dbfs=level_dbfs(power / n_samples),
        gain=gain,
        clipped=clipped,
        silent=peak < STEP,
    )


def _write_raw(blocks: Iterable[FloatArray], raw: Path) -> float:
    """Write the samples, and return their peak."""
    peak = -math.inf
    with raw.open("wb") as file:
        for block in blocks:
            if block.size:
                peak = max(peak, float(np.abs(block).max()))
            if not np.isfinite(block).all():
                raise AudioError("expected a waveform of finite samples, received NaN or infinity")
            file.write(np.ascontiguousarray(block, np.float32).data)
    if peak < 0:
        raise AudioError("expected a waveform, received no samples")
    return peak


def _read_raw(raw: Path) -> Iterator[FloatArray]:
    with raw.open("rb") as file:
        while data := file.read(4 * _BLOCK_SAMPLES):
            yield np.frombuffer(data, np.float32)
