"""Imports a course project's .npy spectrograms and its pickle of minima and maxima."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.load import audio_suffixes
from wavemill.dataset.arrays import check_values, most_bytes, parse_array
from wavemill.dataset.course_pickle import Range, read_ranges
from wavemill.dataset.label_sources import labels_of
from wavemill.dataset.making import write_array
from wavemill.dataset.new_entries import NewEntry
from wavemill.dataset.sources import Problem, printable
from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import DatasetError, InvalidIdError, SilentSpectrogramError, SpectrogramError
from wavemill.files.bounded import NotAFileError, TooLargeError, read_file
from wavemill.operations.identifiers import validate_id
from wavemill.presets import MOST_LEVEL_DB, PRESETS
from wavemill.storage.errors import reason

_FEATURES = PRESETS["course"]
_SHAPES = (_FEATURES.shape, (*_FEATURES.shape, 1))  # with or without the channel axis of its network's input
_BATCH_SIZE = 256  # rows per commit
_ADVICE = "make it again with the course's preprocessing"


@dataclass(frozen=True, kw_only=True)
class CourseReport:
    """What an import did."""

    imported: int
    without_range: list[str]  # files that are not in the pickle
    without_file: list[str]  # names in the pickle that have no file
    unreadable: list[Problem]


def import_course(
    spectrograms_dir: str | Path,
    min_max_pkl: str | Path,
    dataset_dir: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> CourseReport:
    """Make a dataset of preset `course` from the output of the course's preprocessing.

    Files and entries of the pickle are matched by file name, because the pickle holds absolute
    paths of the machine where it was written. An ID is the file name without `.npy` and the
    recording's suffix: `0_george_1.wav.npy` becomes `0_george_1`. The pickle's code is never run.

    Parameters
    ----------
    spectrograms_dir : str or Path
        Folder of float arrays of shape (256, 64) or (256, 64, 1), each in [0, 1].
    min_max_pkl : str or Path
        The pickle {path: {"min": number, "max": number}}, in dB.
    dataset_dir : str or Path
        A new folder, or the folder of an interrupted import.
    progress : callable, optional
        Called with the number of arrays handled and the total number.

    Raises
    ------
    DatasetError
        The pickle is refused, nothing can be imported, or `dataset_dir` holds something already.
    """
    folder = Path(spectrograms_dir)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not an existing folder of spectrograms")
    paths = _arrays_in(folder)
    if not paths:
        raise DatasetError(f"{folder} holds no .npy files")
    known = _by_name(read_ranges(Path(min_max_pkl)))
    with DatasetWriter.open(Path(dataset_dir), _FEATURES, origin="import-course") as writer:
        if writer.complete:
            raise DatasetError(f"{dataset_dir} holds a complete dataset; choose a new folder")
        importer = _import_all(paths, known, writer, progress or _no_progress)
    return CourseReport(
        imported=len(importer.imported),
        without_range=importer.without_range,
        without_file=sorted(set(known) - {path.name for path in paths}),
        unreadable=importer.unreadable,
    )


def _arrays_in(folder: Path) -> list[Path]:
    """Return the folder's `.npy` files, sorted, without hidden ones such as `._x.npy`."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".npy" and not path.name.startswith("."))
    except OSError as exc:
        raise DatasetError(f"{folder} cannot be listed: {reason(exc)}") from exc


def _import_all(
    paths: list[Path], known: Mapping[str, set[Range]], writer: DatasetWriter, progress: Callable[[int, int], None]
) -> _Importer:
    importer = _Importer(known=known, dataset_dir=writer.folder)
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = paths[start : start + _BATCH_SIZE]
        writer.put(entry for path in batch if (entry := importer.new_entry(path)))
        progress(start + len(batch), len(paths))
    if not importer.imported:
        raise DatasetError(f"nothing in {paths[0].parent} can be imported; {importer.first_problem()}")
    writer.finish({"unreadable": len(importer.unreadable), "skipped": len(importer.without_range)})
    return importer


@dataclass(kw_only=True)
class _Importer:
    """Turns files into entries of the index, and records the files that cannot be imported."""

    known: Mapping[str, set[Range]]
    dataset_dir: Path
    suffixes: frozenset[str] = field(default_factory=audio_suffixes)
    imported: set[str] = field(default_factory=set)
    without_range: list[str] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)

    def new_entry(self, path: Path) -> NewEntry | None:
        """Write the array and return its entry; if that fails, record why and return None."""
        if path.name not in self.known:
            self.without_range.append(printable(path.name))
            return None
        try:
            entry = self._import(path, self.known[path.name])
        except (SpectrogramError, InvalidIdError, OSError) as exc:
            self.unreadable.append((printable(path.name), printable(str(exc))))
            return None
        self.imported.add(entry.spectrogram_id)
        return entry

    def first_problem(self) -> str:
        """Describe what was wrong with the first file."""
        if self.unreadable:
            return f"the first problem: {self.unreadable[0][1]}"
        return (
            f"the pickle has no range for any of its {len(self.without_range)} arrays, such as {self.without_range[0]}"
        )

    def _import(self, path: Path, ranges: set[Range]) -> NewEntry:
        spectrogram_id = validate_id(_id_of(path.name, self.suffixes))
        if spectrogram_id in self.imported:
            raise SpectrogramError(f"another file has the same ID {spectrogram_id!r}; rename one of them")
        x = _read_array(path)
        min_db, max_db = _the_one(ranges, path.name)
        file, sha256 = write_array(self.dataset_dir, spectrogram_id, x)
        stat = path.stat()
        return NewEntry(
            spectrogram_id=spectrogram_id,
            file=file,
            labels=labels_of(spectrogram_id),
            min_db=min_db,
            max_db=max_db,
            duration_s=_FEATURES.duration_s,  # the course stores no lengths
            sha256=sha256,
            cut=False,
            source=path.name,
            source_bytes=stat.st_size,
            source_mtime_ns=stat.st_mtime_ns,
        )


def _read_array(path: Path) -> NDArray[np.float32]:
    try:
        data = read_file(path, most_bytes=most_bytes(*_SHAPES))
    except NotAFileError as exc:
        raise SpectrogramError(f"{path.name}: expected a file, received a folder or device") from exc
    except TooLargeError as exc:
        raise SpectrogramError(f"{path.name}: it is not an array of shape {_FEATURES.shape}: {exc}; {_ADVICE}") from exc
    parsed = parse_array(data, name=path.name, shapes=_SHAPES, advice=_ADVICE)
    if np.isnan(parsed).all():
        raise SilentSpectrogramError(
            f"{path.name}: a silent recording, which the course's normalisation turns into NaN"
        )
    check_values(parsed, name=path.name, advice=_ADVICE)
    return np.ascontiguousarray(parsed.reshape(_FEATURES.shape), dtype=np.float32)  # (F, T, 1) -> (F, T)


def _the_one(ranges: set[Range], name: str) -> Range:
    if len(ranges) > 1:
        raise SpectrogramError(f"{name}: the pickle holds {len(ranges)} different ranges for files of this name")
    (min_max,) = ranges
    min_db, max_db = min_max
    if not -MOST_LEVEL_DB <= min_db < max_db <= MOST_LEVEL_DB:
        raise SpectrogramError(
            f"{name}: expected min < max in dB, received {min_db:g} and {max_db:g}; "
            f"both must lie within {MOST_LEVEL_DB:.0f} dB of full scale"
        )
    return min_max


def _by_name(ranges: Mapping[str, Range]) -> dict[str, set[Range]]:
    by_name: dict[str, set[Range]] = {}
    for path, min_max in ranges.items():
        name = re.split(r"[/\\]", path)[-1]  # the pickle may have been written on Windows
        by_name.setdefault(name, set()).add(min_max)
    return by_name


def _id_of(file_name: str, suffixes: frozenset[str]) -> str:
    name = PurePosixPath(file_name.removesuffix(".npy"))
    return name.stem if name.suffix.lower() in suffixes else name.name


def _no_progress(_done: int, _total: int) -> None:
    """Show nothing."""
