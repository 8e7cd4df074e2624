"""Writes spectrograms that are too large for memory, in blocks of frames.

Their files hold the frames one after the other (column-major arrays), so that a block of frames is
one piece of the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.blocks import BlockReader, spectrogram_blocks
from wavemill.dataset.extents import frames_of
from wavemill.dataset.headers import DTYPE, npy_header
from wavemill.dataset.placing import placing
from wavemill.errors import AudioError
from wavemill.presets import Features

_BLOCK_NUMBERS = 2**20


@dataclass(frozen=True, kw_only=True)
class HugeSpectrogram:
    """A spectrogram that was written in blocks."""

    min_db: float
    max_db: float
    duration_s: float
    peak: float
    sha256: str
    rate_hz: int
    channels: int


def write_huge(
    path: Path,
    dataset_dir: Path,
    file: str,
    features: Features,
    *,
    start_s: float = 0.0,
    length_s: float | None = None,
) -> HugeSpectrogram:
    """Write the spectrogram of a recording, or of a part of it, into a dataset, normalised to [0, 1].

    Raises
    ------
    AudioError
        The recording cannot be read.
    OSError, StorageUnavailableError
        The spectrogram cannot be written.
    """
    recording = BlockReader(path, features.sample_rate_hz, start_s=start_s, length_s=length_s)
    with placing(dataset_dir, file) as temporary, temporary.open("w+b") as stream:
        header_bytes = len(npy_header((features.n_bins, 1), fortran_order=True))
        stream.seek(header_bytes)
        least, greatest, n_frames = np.float32(np.inf), np.float32(-np.inf), 0
        frames = partial(frames_of, features, "keep")
        for db in spectrogram_blocks(recording, features, n_frames_of=frames):
            least, greatest, n_frames = min(least, db.min()), max(greatest, db.max()), n_frames + db.shape[1]
            stream.write(np.ascontiguousarray(db.T).data)  # (F, T) -> (T, F)
        if not recording.n_samples:
            raise AudioError(f"{path.name}: expected sound, received a file without samples")
        floor = max(least, greatest - np.float32(features.range_db))
        header = npy_header((features.n_bins, n_frames), fortran_order=True)
        if len(header) != header_bytes:
            raise AudioError(f"{path.name}: is too long: it would have {n_frames} frames")
        sha256 = _normalise(stream, header, floor, greatest)
    return HugeSpectrogram(
        min_db=float(floor),
        max_db=float(greatest),
        duration_s=recording.n_samples / features.sample_rate_hz,
        peak=recording.peak,
        sha256=sha256,
        rate_hz=recording.native_rate_hz,
        channels=recording.channels,
    )


def _normalise(stream: BinaryIO, header: bytes, floor: np.float32, greatest: np.float32) -> str:
    """Write the header, scale all numbers to [0, 1] in place, and return the SHA-256 of the file."""
    stream.seek(0)
    stream.write(header)
    digest, position = hashlib.sha256(header), len(header)
    span = greatest - floor
    while data := stream.read(_BLOCK_NUMBERS * DTYPE.itemsize):
        db: FloatArray = np.frombuffer(data, DTYPE)
        x = (np.maximum(db, floor) - floor) / span if span else np.zeros_like(db)
        stream.seek(position)
        stream.write(x.data)
        digest.update(x.data)
        position += len(data)
    return digest.hexdigest()
