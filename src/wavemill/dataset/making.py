"""Makes and writes spectrograms of recordings. The builder's processes run this."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.features import extract, normalise, pad_or_cut
from wavemill.audio.load import Recording, load_recording
from wavemill.dataset.extents import Long, frames_of, is_huge, longest_whole_s
from wavemill.dataset.huge import write_huge
from wavemill.dataset.label_sources import labels_of
from wavemill.dataset.new_entries import NewEntry
from wavemill.dataset.packs import write_pack
from wavemill.dataset.placing import place
from wavemill.dataset.sources import RecordingFile
from wavemill.dataset.writing import spectrogram_file
from wavemill.errors import AudioError
from wavemill.presets import Features, samples_of

_ROUNDED_S = 0.05  # by so much a table may place the end of a part after that of its recording: it rounds times


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


@dataclass(frozen=True, kw_only=True)
class _Huge:
    """A recording whose spectrogram must be made in blocks."""

    recording: RecordingFile


def make_spectrograms(
    recordings: Sequence[RecordingFile],
    audio_dir: Path,
    dataset_dir: Path,
    features: Features,
    *,
    packed: bool,
    long: Long,
) -> list[NewEntry | Failure]:
    """Make the recordings' spectrograms and write them, in packs or in files of their own.

    A failure of one recording does not affect the others. Raises StorageUnavailableError if the
    disk is full, since the next file could not be written either.
    """
    made = [_make(recording, audio_dir, features, long) for recording in recordings]
    results: list[NewEntry | Failure] = [one for one in made if isinstance(one, Failure)]
    spectrograms = [one for one in made if isinstance(one, _Spectrogram)]
    results += _write_packed(spectrograms, dataset_dir) if packed else _write_each(spectrograms, dataset_dir)
    for huge in (one for one in made if isinstance(one, _Huge)):
        results.append(_make_huge(huge.recording, audio_dir, dataset_dir, features, packed=packed))
    return results


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
            results.append(_unwritten(one.recording, exc))
        else:
            results.append(_new_entry(one, file, sha256))
    return results


def _write_packed(spectrograms: Sequence[_Spectrogram], dataset_dir: Path) -> list[NewEntry | Failure]:
    by_shape: dict[tuple[int, ...], list[_Spectrogram]] = {}
    for one in spectrograms:
        by_shape.setdefault(one.x.shape, []).append(one)
    return [result for alike in by_shape.values() for result in _write_pack(alike, dataset_dir)]


def _write_pack(spectrograms: Sequence[_Spectrogram], dataset_dir: Path) -> list[NewEntry | Failure]:
    try:
        items = write_pack(dataset_dir, [one.x for one in spectrograms])
    except OSError as exc:
        return [_unwritten(one.recording, exc) for one in spectrograms]
    return [_new_entry(one, file, sha256) for one, (file, sha256) in zip(spectrograms, items, strict=True)]


def _unwritten(recording: RecordingFile, exc: OSError) -> Failure:
    return Failure(recording=recording, reason=f"its spectrogram cannot be written: {exc.strerror}")


def _make(recording: RecordingFile, audio_dir: Path, features: Features, long: Long) -> _Spectrogram | _Huge | Failure:
    most_s = longest_whole_s(features) if long == "keep" else features.duration_s
    wanted_s = recording.length_s or inf
    try:
        loaded = load_recording(
            audio_dir / recording.path, features, start_s=recording.start_s, longest_s=min(most_s, wanted_s)
        )
        if not loaded.cut:
            _require_end(recording, loaded.duration_s)
    except AudioError as exc:
        return Failure(recording=recording, reason=str(exc))
    loaded = replace(loaded, cut=loaded.cut and wanted_s > most_s)
    n_frames = frames_of(features, long, len(loaded.signal))
    if long == "keep" and (loaded.cut or is_huge((features.n_bins, n_frames))):
        return _Huge(recording=recording)
    padded = pad_or_cut(loaded.signal, samples_of(features, n_frames))
    x, min_db, max_db = normalise(extract(padded, features))
    return _Spectrogram(
        recording=recording,
        x=np.ascontiguousarray(x),  # librosa's arrays are column-major
        min_db=min_db,
        max_db=max_db,
        loaded=loaded if long == "cut" else replace(loaded, cut=False),
    )


def _make_huge(
    recording: RecordingFile, audio_dir: Path, dataset_dir: Path, features: Features, *, packed: bool
) -> NewEntry | Failure:
    """Make a spectrogram in blocks that is too large for memory."""
    if packed:
        return Failure(
            recording=recording, reason="is too long for a packed dataset; build without --packed, or with --long split"
        )
    file = spectrogram_file(recording.spectrogram_id)
    try:
        made = write_huge(
            audio_dir / recording.path,
            dataset_dir,
            file,
            features,
            start_s=recording.start_s,
            length_s=recording.length_s,
        )
        _require_end(recording, made.duration_s)
    except AudioError as exc:
        return Failure(recording=recording, reason=str(exc))
    except OSError as exc:
        return _unwritten(recording, exc)
    return NewEntry(**_about(recording), file=file, **asdict(made), cut=False)


def _require_end(recording: RecordingFile, held_s: float) -> None:
    """Raise AudioError if the recording ends before the part that a table names."""
    if recording.length_s is not None and held_s < recording.length_s - _ROUNDED_S:
        raise AudioError(
            f"{recording.name}: expected {recording.length_s:g} s from {recording.start_s:g} s on, but the recording "
            f"ends after {held_s:.3f} s of them; mend this row of the table"
        )


def _new_entry(made: _Spectrogram, file: str, sha256: str) -> NewEntry:
    return NewEntry(
        **_about(made.recording),
        file=file,
        min_db=made.min_db,
        max_db=made.max_db,
        duration_s=made.loaded.duration_s,
        peak=float(np.abs(made.loaded.signal).max(initial=0)),
        sha256=sha256,
        cut=made.loaded.cut,
        rate_hz=made.loaded.native_rate_hz,
        channels=made.loaded.channels,
    )


def _about(recording: RecordingFile) -> dict[str, Any]:
    return {
        "spectrogram_id": recording.spectrogram_id,
        "labels": labels_of(PurePosixPath(recording.path).with_suffix("").as_posix()),
        "source": recording.path,
        "source_bytes": recording.n_bytes,
        "source_mtime_ns": recording.mtime_ns,
    }
