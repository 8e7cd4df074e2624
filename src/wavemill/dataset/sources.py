"""Find the recordings to build from, and compare them with what was built before.

The lists live in temporary tables of the index's own connection: a million recordings take disk, not memory.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import DatasetError, InvalidIdError
from wavemill.identifiers import validate_id

_DIGIT_SPEAKER_INDEX = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<index>[0-9]+)")
_TABLES = """
CREATE TEMP TABLE sources (
    id TEXT, source TEXT, bytes INTEGER, mtime_ns INTEGER, PRIMARY KEY (id, source)
) WITHOUT ROWID;
CREATE TEMP TABLE pending (id TEXT, source TEXT, bytes INTEGER, mtime_ns INTEGER);
"""
# One source per ID: the first by name. The dataset's row for it, if it was made from that very state of the file, and
# is not damaged.
_CHOSEN = """
SELECT s.id, s.source, s.bytes, s.mtime_ns, d.file FROM temp.sources s LEFT JOIN spectrograms d
    ON d.id = s.id AND d.source = s.source AND d.source_bytes = s.bytes AND d.source_mtime_ns = s.mtime_ns
    AND typeof(d.file) = 'text' AND typeof(d.sha256) = 'text' AND typeof(d.labels) = 'text' AND json_valid(d.labels)
    AND abs(d.min_db) <= 700 AND abs(d.max_db) <= 700 AND d.duration_s BETWEEN 1e-9 AND 1e9
WHERE s.source = (SELECT min(source) FROM temp.sources o WHERE o.id = s.id)
"""
_DOUBLED = """
SELECT s.source, s.id, o.source FROM temp.sources s
    JOIN temp.sources o ON o.id = s.id AND o.source = (SELECT min(source) FROM temp.sources f WHERE f.id = s.id)
WHERE s.source > o.source
"""
_VANISHED = "SELECT id FROM spectrograms WHERE id NOT IN (SELECT id FROM temp.sources)"

Problem = tuple[str, str]  # a path, and what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Source:
    """A recording to make a spectrogram from."""

    spectrogram_id: str
    path: str  # relative to the folder of recordings
    n_bytes: int
    mtime_ns: int


@dataclass(kw_only=True)
class Findings:
    """What a scan came upon besides usable recordings."""

    skipped: list[Problem] = field(default_factory=list)
    ignored: int = 0  # files of other kinds


class SourceList:
    """The recordings below a folder, split into what is built already and what is pending."""

    def __init__(self, writer: DatasetWriter) -> None:
        self._writer = writer
        self._connection: sqlite3.Connection = writer.connection
        self._connection.executescript(_TABLES)
        self.findings = Findings()
        self.reused = 0
        self.pending = 0

    def scan(self, audio_dir: Path, suffixes: frozenset[str]) -> None:
        """List all recordings below `audio_dir`; DatasetError if there is none."""
        found = _walk(audio_dir, suffixes, self.findings, leave_out=self._writer.folder.resolve())
        with self._connection:
            self._connection.executemany("INSERT INTO temp.sources VALUES (?, ?, ?, ?)", map(_columns, found))
        self.findings.skipped.extend(
            (source, f"would have the same ID {spectrogram_id!r} as {first}; rename one of them")
            for source, spectrogram_id, first in self._connection.execute(_DOUBLED)
        )
        self._split()
        if self.reused + self.pending == 0:
            raise DatasetError(f"{audio_dir} holds no usable recording{_seen(self.findings)}")

    def pending_batches(self, batch_size: int) -> Iterator[list[Source]]:
        """Yield what must be built, a batch at a time; safe against writes in between."""
        after = 0
        statement = "SELECT rowid, * FROM temp.pending WHERE rowid > ? ORDER BY rowid LIMIT ?"
        while rows := self._connection.execute(statement, (after, batch_size)).fetchall():
            after = rows[-1][0]
            yield [Source(spectrogram_id=row[1], path=row[2], n_bytes=row[3], mtime_ns=row[4]) for row in rows]

    def remove_vanished(self) -> int:
        """Take out of the dataset what has no recording any more; returns how many."""
        removed = 0
        while gone := [row[0] for row in self._connection.execute(f"{_VANISHED} LIMIT 1000")]:
            self._writer.remove(gone)
            removed += len(gone)
        return removed

    def _split(self) -> None:
        rows = self._connection.execute(_CHOSEN)
        while batch := list(islice(rows, 10_000)):
            # A row alone proves nothing: somebody may have deleted the file.
            pending = [row[:4] for row in batch if row[4] is None or not self._writer.holds(row[4])]
            self._connection.executemany("INSERT INTO temp.pending VALUES (?, ?, ?, ?)", pending)
            self.pending += len(pending)
            self.reused += len(batch) - len(pending)
        self._connection.commit()


def labels_of(spectrogram_id: str) -> dict[str, str]:
    """Return digit, speaker and index where the ID's last component is `digit_speaker_index`, else nothing."""
    match = _DIGIT_SPEAKER_INDEX.fullmatch(PurePosixPath(spectrogram_id).name)
    return match.groupdict() if match else {}


def _walk(folder: Path, suffixes: frozenset[str], findings: Findings, *, leave_out: Path) -> Iterator[Source]:
    """Yield the recordings below `folder`, in no particular order."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not an existing folder of recordings")
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if Path(entry.path).resolve() != leave_out:
                            waiting.append(Path(entry.path))
                    elif source := _source(entry, folder, suffixes, findings):
                        yield source
        except OSError as exc:
            findings.skipped.append((printable(current.relative_to(folder).as_posix()), f"cannot be listed: {exc}"))


def _source(entry: os.DirEntry[str], folder: Path, suffixes: frozenset[str], findings: Findings) -> Source | None:
    relative = PurePosixPath(Path(entry.path).relative_to(folder).as_posix())
    reason = None
    if entry.is_symlink() and entry.is_dir():
        reason = "a symbolic link to a folder is not followed"
    elif relative.suffix.lower() not in suffixes:
        findings.ignored += 1
    elif not entry.is_file():
        reason = "is not a regular file"
    else:
        reason = _unusable_name(relative)
        if reason is None:
            stat = entry.stat()
            spectrogram_id = relative.with_suffix("").as_posix()
            return Source(
                spectrogram_id=spectrogram_id,
                path=str(relative),
                n_bytes=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
            )
    if reason is not None:
        findings.skipped.append((printable(str(relative)), reason))
    return None


def _unusable_name(relative: PurePosixPath) -> str | None:
    try:
        validate_id(relative.with_suffix("").as_posix())
    except InvalidIdError as exc:
        return printable(str(exc))
    return None


def _columns(source: Source) -> tuple[str, str, int, int]:
    return source.spectrogram_id, source.path, source.n_bytes, source.mtime_ns


def printable(text: str) -> str:
    """Return text for a terminal: control characters and bytes that are no UTF-8 come escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _seen(findings: Findings) -> str:
    if findings.skipped:
        path, reason = findings.skipped[0]
        return f"; {len(findings.skipped)} were skipped, the first being {path}: {reason}"
    return f" among {findings.ignored} files of other kinds" if findings.ignored else "; it is empty"
