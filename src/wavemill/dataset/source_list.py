"""Compares recordings with an existing dataset, and decides what to build, to keep and to remove.

The lists are temporary tables on the index's connection, so that a million recordings take disk
space, not memory.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from wavemill.dataset.described import Described
from wavemill.dataset.parts import frames_of_long
from wavemill.dataset.sources import Findings, Problem, RecordingFile, find_recordings, seen
from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import DatasetError
from wavemill.presets import MOST_LEVEL_DB

_TABLES = """
CREATE TEMP TABLE sources (
    id TEXT, source TEXT, bytes INTEGER, mtime_ns INTEGER, start_s REAL, length_s REAL, PRIMARY KEY (id, source)
) WITHOUT ROWID;
CREATE TEMP TABLE pending (
    id TEXT, source TEXT, bytes INTEGER, mtime_ns INTEGER, start_s REAL, length_s REAL
);
CREATE TEMP TABLE seen (source TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE kept (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE gone (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE failed (id TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID;
"""
# One source per ID, the first by name. With it, its row in the dataset, if the row is not damaged
# and was made from the file as it is now.
_CHOSEN = f"""
SELECT s.id, s.source, s.bytes, s.mtime_ns, s.start_s, s.length_s, d.file, d.duration_s
    FROM temp.sources s LEFT JOIN spectrograms d
    ON d.id = s.id AND d.source = s.source AND d.source_bytes = s.bytes AND d.source_mtime_ns = s.mtime_ns
    AND typeof(d.file) = 'text' AND typeof(d.sha256) = 'text' AND typeof(d.labels) = 'text' AND json_valid(d.labels)
    AND abs(d.min_db) <= {MOST_LEVEL_DB} AND abs(d.max_db) <= {MOST_LEVEL_DB} AND d.duration_s BETWEEN 1e-9 AND 1e9
WHERE s.source = (SELECT min(source) FROM temp.sources o WHERE o.id = s.id) AND s.id NOT IN (SELECT id FROM temp.kept)
"""  # noqa: S608 a number
_ONLY_FAILED = "AND s.id IN (SELECT id FROM temp.failed)"
_DOUBLED = """
SELECT s.source, s.id, o.source FROM temp.sources s
    JOIN temp.sources o ON o.id = s.id AND o.source = (SELECT min(source) FROM temp.sources f WHERE f.id = s.id)
WHERE s.source > o.source
"""
# Spectrograms whose recordings the scan did not find: ID, the recording, whether another file now
# has that ID, and whether the recording is there, but has no such part now.
_MISSED = """
SELECT d.id, CAST(d.source AS BLOB), EXISTS (SELECT 1 FROM temp.sources s WHERE s.id = d.id),
    EXISTS (SELECT 1 FROM temp.seen WHERE seen.source = d.source)
FROM spectrograms d
WHERE NOT EXISTS (SELECT 1 FROM temp.sources s WHERE s.id = d.id AND s.source = d.source)
"""
_GONE = "SELECT id FROM temp.gone WHERE id > ? ORDER BY id LIMIT ?"
# Spectrograms of failed IDs that were built from the very file that cannot be read now, or whose ID
# has no other file.
_FAILED = """
SELECT f.id, d.file, d.duration_s FROM temp.failed f JOIN spectrograms d ON d.id = f.id
WHERE d.source = f.source OR f.id NOT IN (SELECT id FROM temp.sources)
"""
_PAGE = 10_000

# Without `prune`, a build refuses to remove this share of the dataset or more: an unmounted disk or
# a mistyped folder looks as if that many recordings had been deleted.
_LARGE_SHARE = 0.2
_HANDFUL = 5  # up to this many spectrograms are removed whatever their share


class RecordingList:
    """The recordings below a folder: already built, pending, or gone."""

    def __init__(self, writer: DatasetWriter, audio_dir: Path, described: Described) -> None:
        self._writer = writer
        self._described = described
        self._audio_dir = audio_dir
        self._connection: sqlite3.Connection = writer.connection
        self._connection.executescript(_TABLES)
        self.findings = Findings()
        self.reused = 0
        self.pending = 0

    @property
    def kept(self) -> int:
        """How many spectrograms are kept although their recordings could not be examined."""
        return self._count("temp.kept")

    def is_kept(self, spectrogram_id: str) -> bool:
        """Return whether a spectrogram is kept although its recording could not be examined."""
        found = self._connection.execute("SELECT 1 FROM temp.kept WHERE id = ?", (spectrogram_id,))
        return found.fetchone() is not None

    def scan(self, suffixes: frozenset[str], *, prune: bool) -> None:
        """List all recordings; decide what to keep and what to remove. Does not change the dataset.

        Raises DatasetError if there is no recording, or if a large share of the dataset would be
        removed and `prune` is False.
        """
        found = find_recordings(self._audio_dir, suffixes, self.findings, leave_out=self._writer.folder)
        found = self._described.spread(found, self.findings)
        if self._writer.long == "split":
            frame_s = self._writer.features.duration_s
            found = (part for one in found for part in frames_of_long(one, self._audio_dir, frame_s, self.findings))
        with self._connection:
            self._connection.executemany("INSERT INTO temp.sources VALUES (?, ?, ?, ?, ?, ?)", map(_columns, found))
            self._connection.execute("INSERT INTO temp.seen SELECT DISTINCT source FROM temp.sources")
        if not self._count("temp.sources"):
            raise DatasetError(f"{self._audio_dir} holds no usable recording{seen(self.findings)}")
        self._judge_missed(prune=prune)
        if not prune:
            self._require_few_gone()
        self._choose(_CHOSEN)

    def remove_gone(self) -> int:
        """Remove the spectrograms whose recordings were seen to be gone; return how many."""
        after, removed = "", 0
        while page := self._connection.execute(_GONE, (after, _PAGE)).fetchall():
            gone = [row[0] for row in page]
            self._writer.remove(gone)
            after, removed = gone[-1], removed + len(gone)
        return removed

    def pending_batches(self, batch_size: int) -> Iterator[list[RecordingFile]]:
        """Yield the recordings to build in batches; the caller may write rows in between."""
        after = 0
        statement = "SELECT rowid, * FROM temp.pending WHERE rowid > ? ORDER BY rowid LIMIT ?"
        while rows := self._connection.execute(statement, (after, batch_size)).fetchall():
            after = rows[-1][0]
            yield [
                RecordingFile(
                    spectrogram_id=row[1], path=row[2], n_bytes=row[3], mtime_ns=row[4], start_s=row[5], length_s=row[6]
                )
                for row in rows
            ]

    def fall_back(self, failed: Iterable[RecordingFile]) -> None:
        """Make other recordings with the IDs of failed ones pending, such as x.wav after x.flac.

        Spectrograms built earlier from failed recordings stay, unless their files are lost too.
        """
        keys = [(one.spectrogram_id, one.path) for one in failed]
        with self._connection:
            self._connection.execute("DELETE FROM temp.pending")
            self._connection.execute("DELETE FROM temp.failed")
            self._connection.executemany("DELETE FROM temp.sources WHERE id = ? AND source = ?", keys)
            self._connection.executemany("INSERT INTO temp.failed VALUES (?, ?)", keys)
        self.pending = 0
        self._keep_failed()
        self._choose(f"{_CHOSEN} {_ONLY_FAILED}")

    def doubled(self) -> list[Problem]:
        """Return the recordings that were not used because another one has their ID."""
        return [
            (source, f"would have the same ID {spectrogram_id!r} as {first}; rename one of them")
            for source, spectrogram_id, first in self._connection.execute(_DOUBLED)
        ]

    def _judge_missed(self, *, prune: bool) -> None:
        """Fill `kept` and `gone`; `gone` only if the recording is certainly gone."""
        waiting: Counter[str] = Counter()  # empty folder -> number of spectrograms whose recordings were in it
        rows = self._connection.execute(_MISSED)
        while page := list(islice(rows, _PAGE)):
            decisions = [
                (row[0], self._decision(os.fsdecode(row[1]), bool(row[2]), bool(row[3]), waiting, prune=prune))
                for row in page
            ]
            for table in ("kept", "gone"):
                ids = [(spectrogram_id,) for spectrogram_id, decision in decisions if decision == table]
                self._connection.executemany(f"INSERT INTO temp.{table} VALUES (?)", ids)  # noqa: S608 constants
        self._connection.commit()
        self.findings.skipped.extend(
            (
                folder,
                f"is empty, as if its disk were not mounted; {count} spectrograms of recordings "
                "that were in it stay: to remove them, remove the folder too, or add --prune",
            )
            for folder, count in waiting.items()
        )

    def _decision(
        self, source: str, is_replaced: bool, is_seen: bool, waiting: Counter[str], *, prune: bool
    ) -> str | None:
        """Return the table for a spectrogram whose `source`, or its part of it, was not found; None for neither."""
        if is_seen:
            return "kept" if source in self.findings.unexamined else "gone"
        folders = [str(parent) for parent in PurePosixPath(source).parents]
        places = [source, *folders]
        is_own = not self.findings.own.isdisjoint(places)
        if not is_own and not self.findings.unexamined.isdisjoint(places):
            return "kept"
        if is_replaced:  # it is built again from another file
            return None
        if is_own:
            return "gone"
        if not prune and (empty := self.findings.empty.intersection(folders)):
            waiting.update(empty)
            return "kept"
        return "gone" if _is_gone(self._audio_dir / source) else "kept"

    def _require_few_gone(self) -> None:
        gone, total = self._count("temp.gone"), self._count("spectrograms")
        if gone > _HANDFUL and gone >= _LARGE_SHARE * total:
            [(first,)] = self._connection.execute(_GONE, ("", 1))
            raise DatasetError(
                f"{gone} of the {total} spectrograms in {self._writer.folder} would be removed, such as {first!r}: "
                f"{self._audio_dir} no longer holds their recordings{self._or_rows()}; nothing was changed: mount "
                "or name the folder that holds them, or add --prune (in Python prune=True) to remove these spectrograms"
            )

    def _or_rows(self) -> str:
        origin = self._described.origin
        return "" if origin is None else f", or {origin} no longer names these parts of them"

    def _choose(self, statement: str) -> None:
        """Make the selected recordings pending, except those that are already built."""
        rows = self._connection.execute(statement)
        while batch := list(islice(rows, _PAGE)):
            # A row is not enough: the spectrogram's file may have been deleted.
            pending = [row[:6] for row in batch if row[6] is None or not self._writer.holds(row[6], row[7])]
            self._connection.executemany("INSERT INTO temp.pending VALUES (?, ?, ?, ?, ?, ?)", pending)
            self.pending += len(pending)
            self.reused += len(batch) - len(pending)
        self._connection.commit()

    def _keep_failed(self) -> None:
        rows = self._connection.execute(_FAILED).fetchall()
        kept = [row[0] for row in rows if isinstance(row[1], str) and self._writer.holds(row[1], row[2])]
        self._connection.executemany("INSERT OR IGNORE INTO temp.kept VALUES (?)", [(one,) for one in kept])
        self._connection.commit()
        if lost := {row[0] for row in rows}.difference(kept):
            self._writer.remove(lost)

    def _count(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 constants


def _is_gone(path: Path) -> bool:
    """Return whether there is certainly neither a file nor a link that may lead to one."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return True
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def _columns(found: RecordingFile) -> tuple[str, str, int, int, float, float | None]:
    return found.spectrogram_id, found.path, found.n_bytes, found.mtime_ns, found.start_s, found.length_s
