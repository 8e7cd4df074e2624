"""Make the spectrogram of one recording: what the builder's processes do."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.features import extract, normalise, pad_or_cut
from wavemill.audio.load import load_recording
from wavemill.dataset.manifest import SCRATCH_NAME
from wavemill.dataset.sources import Source, labels_of
from wavemill.dataset.writing import Row, spectrogram_file
from wavemill.errors import AudioError, StorageUnavailableError
from wavemill.presets import Features

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recording of which no spectrogram could be made."""

    source: Source
    reason: str


def make_spectrograms(
    sources: Sequence[Source], audio_dir: Path, dataset_dir: Path, features: Features
) -> list[Row | Failure]:
    """Make and write the spectrograms of those recordings; one that fails harms no other.

    Raises StorageUnavailableError when the disk is full: the next file would not fare better.
    """
    return [_make(source, audio_dir, dataset_dir, features) for source in sources]


def write_array(dataset_dir: Path, spectrogram_id: str, x: NDArray[np.float32]) -> tuple[str, str]:
    """Write one array into the dataset, whole or not at all; returns its file and its SHA-256."""
    buffer = io.BytesIO()
    np.save(buffer, x, allow_pickle=False)
    data = buffer.getbuffer()
    file = spectrogram_file(spectrogram_id)
    temporary = dataset_dir / SCRATCH_NAME / f"{os.getpid()}.npy"  # one at a time in each process
    target = dataset_dir / file
    try:
        temporary.write_bytes(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
    except OSError as exc:
        if exc.errno in _FULL:
            raise StorageUnavailableError(f"{dataset_dir}: {exc.strerror}; free some space and run again") from exc
        raise
    return file, hashlib.sha256(data).hexdigest()


def _make(source: Source, audio_dir: Path, dataset_dir: Path, features: Features) -> Row | Failure:
    try:
        recording = load_recording(audio_dir / source.path, features)
        x, min_db, max_db = normalise(extract(pad_or_cut(recording.signal, features.n_samples), features))
        file, sha256 = write_array(dataset_dir, source.spectrogram_id, x)
    except AudioError as exc:
        return Failure(source=source, reason=str(exc))
    except OSError as exc:  # such as a folder in the place of the array
        return Failure(source=source, reason=f"its spectrogram cannot be written: {exc.strerror}")
    return Row(
        spectrogram_id=source.spectrogram_id,
        file=file,
        labels=labels_of(source.spectrogram_id),
        min_db=min_db,
        max_db=max_db,
        duration_s=len(recording.signal) / features.sample_rate_hz,
        sha256=sha256,
        cut=recording.cut,
        source=source.path,
        source_bytes=source.n_bytes,
        source_mtime_ns=source.mtime_ns,
    )
