"""Makes and writes spectrograms of recordings. The builder's processes run this."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.features import extract, normalise, pad_or_cut
from wavemill.audio.load import Recording, load_recording
from wavemill.dataset.label_sources import labels_of
from wavemill.dataset.packs import write_pack
from wavemill.dataset.placing import place
from wavemill.dataset.sources import RecordingFile
from wavemill.dataset.writing import NewEntry, spectrogram_file
from wavemill.errors import AudioError
from wavemill.presets import Features


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recording from which no spectrogram could be made."""

    recording: RecordingFile
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Spectrogram:
    """The spectrogram of a recording, not yet written."""

    recording: RecordingFile
    x: NDArray[np.float32]
    min_db: float
    max_db: float
    loaded: Recording


def make_spectrograms(
    recordings: Sequence[RecordingFile], audio_dir: Path, dataset_dir: Path, features: Features, *, packed: bool
) -> list[NewEntry | Failure]:
    """Make the recordings' spectrograms and write them, in one pack or in files of their own.

    A failure of one recording does not affect the others. Raises StorageUnavailableError if the
    disk is full, since the next file could not be written either.
    """
    made = [_make(recording, audio_dir, features) for recording in recordings]
    failures: list[NewEntry | Failure] = [one for one in made if isinstance(one, Failure)]
    spectrograms = [one for one in made if isinstance(one, _Spectrogram)]
    write = _write_packed if packed else _write_each
    return failures + write(spectrograms, dataset_dir)


def write_array(dataset_dir: Path, spectrogram_id: str, x: NDArray[np.float32]) -> tuple[str, str]:
    """Write one array into the dataset, whole or not at all; return its file and its SHA-256."""
    buffer = io.BytesIO()
    np.save(buffer, x, allow_pickle=False)
    data = buffer.getbuffer()
    file = spectrogram_file(spectrogram_id)
    place(dataset_dir, file, data)
    return file, hashlib.sha256(data).hexdigest()


def _write_each(spectrograms: Sequence[_Spectrogram], dataset_dir: Path) -> list[NewEntry | Failure]:
    results: list[NewEntry | Failure] = []
    for one in spectrograms:
        try:
            file, sha256 = write_array(dataset_dir, one.recording.spectrogram_id, one.x)
        except OSError as exc:  # such as a folder where the file should be
            results.append(_unwritten(one, exc))
        else:
            results.append(_new_entry(one, file, sha256))
    return results


def _write_packed(spectrograms: Sequence[_Spectrogram], dataset_dir: Path) -> list[NewEntry | Failure]:
    if not spectrograms:
        return []
    try:
        items = write_pack(dataset_dir, [one.x for one in spectrograms])
    except OSError as exc:
        return [_unwritten(one, exc) for one in spectrograms]
    return [_new_entry(one, file, sha256) for one, (file, sha256) in zip(spectrograms, items, strict=True)]


def _unwritten(one: _Spectrogram, exc: OSError) -> Failure:
    return Failure(recording=one.recording, reason=f"its spectrogram cannot be written: {exc.strerror}")


def _make(recording: RecordingFile, audio_dir: Path, features: Features) -> _Spectrogram | Failure:
    try:
        loaded = load_recording(audio_dir / recording.path, features)
        x, min_db, max_db = normalise(extract(pad_or_cut(loaded.signal, features.n_samples), features))
    except AudioError as exc:
        return Failure(recording=recording, reason=str(exc))
    return _Spectrogram(
        recording=recording,
        x=np.ascontiguousarray(x),  # librosa's arrays are column-major
        min_db=min_db,
        max_db=max_db,
        loaded=loaded,
    )


def _new_entry(made: _Spectrogram, file: str, sha256: str) -> NewEntry:
    return NewEntry(
        spectrogram_id=made.recording.spectrogram_id,
        file=file,
        labels=labels_of(made.recording.spectrogram_id),
        min_db=made.min_db,
        max_db=made.max_db,
        duration_s=made.loaded.duration_s,
        sha256=sha256,
        cut=made.loaded.cut,
        source=made.recording.path,
        source_bytes=made.recording.n_bytes,
        source_mtime_ns=made.recording.mtime_ns,
        rate_hz=made.loaded.native_rate_hz,
        channels=made.loaded.channels,
    )
