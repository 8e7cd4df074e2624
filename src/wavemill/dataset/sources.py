"""Finds the recordings below a folder. An error at one entry does not stop the scan."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wavemill.audio.tars import SUFFIX, index_of, is_tar
from wavemill.dataset.marks import own_mark
from wavemill.errors import DatasetError, InvalidIdError
from wavemill.operations.identifiers import validate_id
from wavemill.storage.errors import reason

# Folders that operating systems and archive programs create. The scan also ignores hidden files and
# folders, such as ._x.wav.
_JUNK = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"})

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
SIDECARS = (".json", ".cls", ".txt")  # of a member of a WebDataset's tar file: its labels

Problem = tuple[str, str]  # a path, and what is wrong with it


@dataclass(frozen=True, kw_only=True)
class RecordingFile:
    """A file to make a spectrogram from, as the scan found it."""

    spectrogram_id: str
    path: str  # relative to the folder of recordings
    n_bytes: int
    mtime_ns: int
    start_s: float = 0.0  # where the part begins, if it is a part of the file
    length_s: float | None = None  # of the part; None: the rest of the file, as far as spectrograms hold it

    @property
    def name(self) -> str:
        """What to call it in messages: the file, with the part's times if only this part is wanted."""
        return self.path if self.length_s is None else f"{self.path} ({self.spectrogram_id})"


@dataclass(kw_only=True)
class Findings:
    """What a scan found besides usable recordings. Paths are relative to their folder."""

    skipped: list[Problem] = field(default_factory=list)
    ignored: int = 0  # files of other kinds, and hidden ones
    unexamined: set[str] = field(default_factory=set)  # files and folders that could not be examined
    own: set[str] = field(default_factory=set)  # folders that hold wavemill's outputs or a dataset
    empty: set[str] = field(default_factory=set)  # folders without any files or folders in them

    def skip(self, path: PurePosixPath, why: str) -> None:
        """Record an entry that is not a usable recording."""
        self.skipped.append((printable(str(path)), why))

    def skip_unexamined(self, path: PurePosixPath, why: str) -> None:
        """Record an entry that could not be examined: it may be, or hold, recordings."""
        self.unexamined.add(str(path))
        self.skip(path, why)


def find_recordings(
    folder: Path, suffixes: frozenset[str], findings: Findings, *, leave_out: Path | None = None
) -> Iterator[RecordingFile]:
    """Yield the recordings below `folder`, in no particular order; DatasetError if there is no such folder.

    A tar file counts as a folder, also as `folder` itself; its members are read in place. Links to
    folders are not followed. The folder `leave_out` is skipped without a finding in `skipped`.
    """
    require_folder(folder)
    scan = _Scan(folder, suffixes, findings, None if leave_out is None else leave_out.stat())
    while scan.waiting:
        place = scan.waiting.pop()
        yield from scan.list_tar(place) if is_tar(folder / place) else scan.list_folder(place)


def require_folder(folder: Path) -> None:
    """Raise DatasetError unless `folder` is an existing folder, or a tar file."""
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode) or is_tar(folder)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except OSError as exc:
        raise DatasetError(f"{folder} cannot be read: {reason(exc)}") from exc
    if not is_folder:
        raise DatasetError(f"{folder} is not an existing folder of recordings")


class _Scan:
    def __init__(
        self, root: Path, suffixes: frozenset[str], findings: Findings, leave_out: os.stat_result | None
    ) -> None:
        self.waiting = [PurePosixPath()]
        self._root = root
        self._suffixes = suffixes
        self._findings = findings
        self._leave_out = leave_out

    def list_folder(self, folder: PurePosixPath) -> Iterator[RecordingFile]:
        """Yield the recordings in one folder; add the folders in it to `waiting`."""
        is_empty = True
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    is_empty = False
                    if found := self._examine(entry, folder / entry.name):
                        yield found
        except OSError as exc:
            self._findings.skip_unexamined(folder, f"cannot be listed: {reason(exc)}")
            return
        if is_empty:
            self._findings.empty.add(str(folder))

    def list_tar(self, tar: PurePosixPath) -> Iterator[RecordingFile]:
        """Yield the recordings in one tar file."""
        try:
            status, index = (self._root / tar).stat(), index_of(self._root / tar)
        except OSError as exc:
            self._findings.skip_unexamined(tar, f"cannot be listed: {reason(exc)}")
            return
        if index.damage is not None:
            self._findings.skip_unexamined(
                tar, f"is damaged after {len(index.places)} usable members: {printable(index.damage)}"
            )
        self._findings.skipped += [(printable(f"{tar}/{name}"), problem) for name, problem in index.problems]
        for name, (_, n_bytes) in index.places.items():
            path = tar / name
            if path.suffix.lower() not in self._suffixes or path.name.startswith("."):
                self._findings.ignored += path.suffix.lower() not in SIDECARS
            elif problem := _unusable_name(path):
                self._findings.skip(path, problem)
            else:
                yield _recording_file(path, n_bytes, status.st_mtime_ns)

    def _examine(self, entry: os.DirEntry[str], path: PurePosixPath) -> RecordingFile | None:
        if entry.name.startswith(".") or entry.name in _JUNK:
            self._findings.ignored += 1
            return None
        try:
            if entry.is_dir(follow_symlinks=False):
                self._enter(entry, path)
            elif entry.is_symlink() and entry.is_dir():
                self._findings.skip_unexamined(path, "a symbolic link to a folder is not followed")
            elif path.suffix.lower() not in self._suffixes:
                self._examine_other(path)
            elif problem := _unusable_name(path):
                self._findings.skip(path, problem)
            else:
                return self._recording_file(entry.stat(), path)
        except OSError as exc:
            self._findings.skip_unexamined(path, f"cannot be examined: {reason(exc)}")
        return None

    def _examine_other(self, path: PurePosixPath) -> None:
        if path.suffix.lower() == SUFFIX:
            self.waiting.append(path)
        elif path.name.lower().endswith(_COMPRESSED):
            self._findings.skip(path, "is a compressed tar file, which cannot be read in place; unpack it: tar -xf")
        else:
            self._findings.ignored += 1

    def _enter(self, entry: os.DirEntry[str], path: PurePosixPath) -> None:
        if self._leave_out is not None and os.path.samestat(entry.stat(follow_symlinks=False), self._leave_out):
            self._findings.own.add(str(path))
        elif mark := own_mark(self._root / path, self._suffixes):
            self._findings.own.add(str(path))
            self._findings.skip(path, f"{mark}; to build from it anyway, build from that folder alone")
        else:
            self.waiting.append(path)

    def _recording_file(self, status: os.stat_result, path: PurePosixPath) -> RecordingFile | None:
        if not stat.S_ISREG(status.st_mode):
            self._findings.skip(path, "is not a regular file")
            return None
        return _recording_file(path, status.st_size, status.st_mtime_ns)


def _recording_file(path: PurePosixPath, n_bytes: int, mtime_ns: int) -> RecordingFile:
    spectrogram_id = path.with_suffix("").as_posix()
    return RecordingFile(spectrogram_id=spectrogram_id, path=str(path), n_bytes=n_bytes, mtime_ns=mtime_ns)


def _unusable_name(path: PurePosixPath) -> str | None:
    try:
        validate_id(path.with_suffix("").as_posix())
    except InvalidIdError as exc:
        return printable(str(exc))
    return None


def printable(text: str) -> str:
    """Escape control characters and bytes that are not UTF-8, so that text can be printed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seen(findings: Findings) -> str:
    """Say what a scan found instead of recordings, as the end of a sentence."""
    if findings.skipped:
        path, reason = findings.skipped[0]
        return f"; {len(findings.skipped)} were skipped, the first being {path}: {reason}"
    return f" among {findings.ignored} files of other kinds" if findings.ignored else "; it is empty"
