"""Writes a waveform that comes in blocks to a sound file: hours of it in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from wavemill.arrays import FloatArray
from wavemill.audio.encoding import BLOCK_SAMPLES, STEP, gain_for, level_dbfs, opened_for_writing, steady
from wavemill.errors import AudioError
from wavemill.operations.formats import FORMATS, Encoding, stored_rate_hz

_HEAD_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class WrittenAudio:
    """A sound file on disk, and the measurements of `EncodedAudio`."""

    path: Path
    sample_rate_hz: int
    duration_s: float
    peak: float
    rms_dbfs: float
    gain: float
    clipped: int
    silent: bool
    loudness: None = None  # it is not set: measuring it would take the whole sound into memory


def write_long(
    blocks: Iterable[FloatArray],
    path: Path,
    sample_rate_hz: int,
    *,
    form: str = "wav",
    output_rate_hz: int | None = None,
    comment: str = "",
) -> WrittenAudio:
    """Write a waveform to a sound file, below full scale; see `wavemill.audio.encoding.encode`.

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
    raw, encoding = path.with_name(f"{path.name}.raw"), FORMATS[form]
    rate_hz = output_rate_hz or stored_rate_hz(form, sample_rate_hz)
    try:
        peak = _write_raw(_resampled(blocks, sample_rate_hz, rate_hz), raw)
        gain = gain_for(peak)
        n_samples, power, clipped = 0, 0.0, 0
        with opened_for_writing(path, rate_hz, encoding, comment) as sound:
            for signal in _read_raw(raw):
                scaled = signal if gain == 1.0 else np.asarray(signal * gain, np.float32)
                sound.write(scaled)
                n_samples += len(scaled)
                power += float(np.dot(scaled, scaled))
                clipped += int(np.count_nonzero(np.abs(scaled) > 1.0))
    finally:
        raw.unlink(missing_ok=True)
    _make_steady(path, encoding)
    return WrittenAudio(
        path=path,
        sample_rate_hz=rate_hz,
        duration_s=n_samples / rate_hz,
        peak=peak,
        rms_dbfs=level_dbfs(power / n_samples),
        gain=gain,
        clipped=clipped,
        silent=peak < STEP,
    )


def _make_steady(path: Path, encoding: Encoding) -> None:
    """Remove what libsndfile took from the clock: from all of an Ogg file, from the head of others."""
    with path.open("r+b") as file:
        data = file.read(-1 if encoding.container == "OGG" else _HEAD_BYTES)
        file.seek(0)
        file.write(steady(data, encoding))


def _resampled(blocks: Iterable[FloatArray], from_hz: int, to_hz: int) -> Iterator[FloatArray]:
    """Yield the blocks at another rate, together as long as before to the nearest sample."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
    n_read, n_made = 0, 0
    for block in blocks:
        n_read += len(block)
        made = stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        n_made += len(made)
        yield made
    missing = round(n_read * to_hz / from_hz) - n_made
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
    yield np.pad(rest, (0, missing - len(rest)))


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
        while data := file.read(4 * BLOCK_SAMPLES):
            yield np.frombuffer(data, np.float32)
