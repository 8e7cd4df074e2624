"""Writes a dataset: files first, then their rows, so that a killed build can be continued."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Self

from wavemill.dataset.entries import READABLE_LABELS
from wavemill.dataset.extents import Long, shape_of, usual_long
from wavemill.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    SCRATCH_NAME,
    SPECTROGRAMS_NAME,
    TEMPORARY_MANIFEST_NAME,
    Manifest,
    read_manifest,
    write_manifest,
)
from wavemill.dataset.new_entries import PEAKS, PUT_PEAK, PUT_SPECTROGRAM, SPECTROGRAMS, NewEntry, labels_json
from wavemill.dataset.packs import end_of_item, split_name
from wavemill.errors import DatasetError, StorageUnavailableError
from wavemill.labels import LabelValue
from wavemill.presets import Features


class DatasetWriter:
    """A dataset folder, opened for writing by one process at a time."""

    def __init__(self, folder: Path, manifest: Manifest, lock_fd: int) -> None:
        self.folder = folder
        self.scratch = folder / SCRATCH_NAME
        self._manifest = manifest
        self._lock_fd = lock_fd
        self._pack_bytes: Callable[[str], int] = lru_cache(maxsize=1_024)(lambda pack: (folder / pack).stat().st_size)
        self.connection = sqlite3.connect(folder / INDEX_NAME, timeout=30.0)
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(SPECTROGRAMS)
        self.connection.execute(PEAKS)

    @classmethod
    def open(
        cls,
        folder: Path,
        features: Features,
        *,
        origin: str,
        packed: bool | None = None,
        long: Long | None = None,
    ) -> Self:
        """Create the dataset, or continue the existing one; DatasetError if that one differs.

        None continues a dataset in its form. A new one gets one file per spectrogram, and treats
        long recordings as is usual for its features.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock_fd = _lock(folder)
            try:
                manifest = _continued(folder, Manifest(features=features, origin=origin), packed, long)
                shutil.rmtree(folder / SCRATCH_NAME, ignore_errors=True)  # left by a killed run
                (folder / SCRATCH_NAME).mkdir()
                return cls(folder, manifest, lock_fd)
            except BaseException:
                os.close(lock_fd)
                raise
        except (OSError, sqlite3.Error) as exc:
            raise DatasetError(f"{folder} cannot be written as a dataset: {exc}") from exc

    @property
    def complete(self) -> bool:
        """True if an earlier run finished, and nothing has changed since."""
        return self._manifest.complete

    @property
    def features(self) -> Features:
        """The parameters that its spectrograms are made with."""
        return self._manifest.features

    @property
    def packed(self) -> bool:
        """True if many spectrograms share a file."""
        return self._manifest.packed

    @property
    def long(self) -> Long:
        """What becomes of long recordings."""
        return self._manifest.long

    def holds(self, file: str, duration_s: float) -> bool:
        """Return whether that spectrogram's file exists and is large enough. Does not read it."""
        shape = shape_of(self.features, self.long, duration_s)
        try:
            if not self.packed:
                return (self.folder / file).stat().st_size == end_of_item(0, shape)
            pack, number = split_name(file)
            return self._pack_bytes(pack) >= end_of_item(number, shape)
        except (OSError, ValueError):
            return False

    def put(self, entries: Iterable[NewEntry]) -> None:
        """Add or replace entries whose files are already in place, and commit."""
        self._begin_change()
        new = list(entries)
        with self.connection:
            self.connection.executemany(PUT_SPECTROGRAM, [entry.row for entry in new])
            self.connection.executemany(PUT_PEAK, [(entry.spectrogram_id, entry.peak) for entry in new])

    def remove(self, ids: Iterable[str]) -> None:
        """Delete rows and their files; unknown IDs are ignored."""
        self._begin_change()
        removed = list(ids)
        # Rows first: readers ignore a file without a row, but a row without a file is an error.
        with self.connection:
            for table in ("spectrograms", "peaks"):
                self.connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(gone,) for gone in removed])  # noqa: S608 constant
        if self.packed:
            return  # other items of the pack stay; `finish` removes packs that no row names
        for spectrogram_id in removed:
            _unlink(self.folder / spectrogram_file(spectrogram_id))

    def relabel(self, changed: Sequence[tuple[str, dict[str, LabelValue]]]) -> None:
        """Replace the labels of these IDs, and commit."""
        if not changed:
            return
        self._begin_change()
        rows = [(labels_json(labels), spectrogram_id) for spectrogram_id, labels in changed]
        with self.connection:
            self.connection.executemany("UPDATE spectrograms SET labels = ? WHERE id = ?", rows)

    def finish(self, counts: dict[str, int]) -> Manifest:
        """Mark the dataset complete, with the index's own counts and `counts`."""
        if self.packed:
            self._remove_unused_packs()
        spectrograms, cut, silent = self.connection.execute(
            "SELECT count(*), coalesce(sum(cut), 0), coalesce(sum(min_db = max_db), 0) FROM spectrograms"
        ).fetchone()
        labels = self.connection.execute(
            f"SELECT DISTINCT key FROM spectrograms, json_each({READABLE_LABELS}) ORDER BY key"  # noqa: S608 constant
        )
        self._manifest = replace(
            self._manifest,
            complete=True,
            counts={"spectrograms": spectrograms, "cut": cut, "silent": silent, **counts},
            labels=tuple(name for (name,) in labels),
        )
        write_manifest(self.folder, self._manifest)
        return self._manifest

    def close(self) -> None:
        """Close the index, remove scratch files, release the lock. Discard an empty dataset."""
        with suppress(sqlite3.Error):
            self._discard_if_empty()
        self.connection.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.close(self._lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, exc: BaseException | None, _traceback: object) -> None:
        self.close()
        if isinstance(exc, sqlite3.OperationalError):
            raise StorageUnavailableError(f"the index of {self.folder} cannot be written: {exc}") from exc
        if isinstance(exc, sqlite3.Error):
            raise DatasetError(f"the index of {self.folder} is damaged: {exc}; choose a new folder") from exc

    def _remove_unused_packs(self) -> None:
        files = self.connection.execute("SELECT DISTINCT substr(file, 1, instr(file, '#') - 1) FROM spectrograms")
        used = {Path(file).name for (file,) in files}
        for path in (self.folder / SPECTROGRAMS_NAME).iterdir():
            if path.name not in used:
                _unlink(path)

    def _discard_if_empty(self) -> None:
        # An empty dataset would tie the folder to the preset of a mistaken call. Keep the dataset
        # if an interrupted build left arrays without rows: the next build continues it, but would
        # refuse a folder of unknown files.
        if self.complete or (self.folder / SPECTROGRAMS_NAME).exists():
            return
        if self.connection.execute("SELECT 1 FROM spectrograms LIMIT 1").fetchone() is None:
            (self.folder / INDEX_NAME).unlink()
            (self.folder / MANIFEST_NAME).unlink()

    def _begin_change(self) -> None:
        # Called at the first change and not at the start, so that a run with nothing to do leaves
        # the dataset complete.
        if self._manifest.complete:
            self._manifest = replace(self._manifest, complete=False)
            write_manifest(self.folder, self._manifest)


def _unlink(path: Path) -> None:
    """Delete a file that no row names. If that fails, the file only takes disk space."""
    with suppress(OSError):
        path.unlink()


def spectrogram_file(spectrogram_id: str) -> str:
    """Return the path of that spectrogram's file, relative to the dataset's folder."""
    return f"{SPECTROGRAMS_NAME}/{spectrogram_id}.npy"


def _continued(folder: Path, new: Manifest, packed: bool | None, long: Long | None) -> Manifest:
    """Return the manifest of the existing dataset, or the new manifest for an empty folder."""
    if not (folder / MANIFEST_NAME).exists():
        if any(path.name != TEMPORARY_MANIFEST_NAME for path in folder.iterdir()):
            raise DatasetError(f"{folder} holds files but no dataset; choose a new or an empty folder")
        manifest = replace(new, packed=bool(packed), long=long or usual_long(new.features))
        write_manifest(folder, manifest)
        return manifest
    manifest = read_manifest(folder)
    if manifest.features != new.features:
        differences = manifest.features.differences(new.features)
        raise DatasetError(f"{folder} holds a dataset with other features: it has {differences}; choose another folder")
    if manifest.origin != new.origin:
        raise DatasetError(f"{folder} was made by `dataset {manifest.origin}`; choose another folder")
    if long not in (None, manifest.long):
        raise DatasetError(f"{folder} was built with --long {manifest.long}, not {long}; choose another folder")
    if packed not in (None, manifest.packed):
        raise DatasetError(
            f"{folder} holds {'packs' if manifest.packed else 'a file for each spectrogram'}; choose another folder"
        )
    return manifest


def _lock(folder: Path) -> int:
    """Take the builder's lock on the folder. The kernel releases it when this process ends."""
    lock_fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(lock_fd)
        raise DatasetError(f"{folder} is being built by another process; wait for it to end") from exc
    return lock_fd
