"""The rows of a table of labels, by the recordings and parts of recordings that they describe.

The rows are kept in a temporary database, so that a million of them take disk space, not memory.
"""

from __future__ import annotations

import json
import posixpath
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from wavemill.dataset.label_sources import LabelChoice, LabelDict
from wavemill.dataset.metadata import Row, Table, clean_labels, find_table, require_table
from wavemill.dataset.parts import Part
from wavemill.dataset.sidecars import sidecar_labels
from wavemill.dataset.sources import Findings, RecordingFile
from wavemill.errors import InvalidIdError, StorageUnavailableError
from wavemill.operations.identifiers import validate_id

# `part` is the suffix of a part, and empty for a row that describes all of a recording.
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -65536; -- KiB
CREATE TABLE rows (
    name TEXT, part TEXT, start_s REAL, length_s REAL, labels TEXT, used INTEGER DEFAULT 0, PRIMARY KEY (name, part)
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO rows (name, part, start_s, length_s, labels) VALUES (?, ?, ?, ?, ?)"
_PUT_SIDECARS = "INSERT OR IGNORE INTO rows (name, part, labels) VALUES (?, '', ?)"
_LABELS = "SELECT labels FROM rows WHERE name = ? AND part = ?"
_USE = "UPDATE rows SET used = 1 WHERE name = ? AND part = ?"
_UNUSED = "SELECT name || part FROM rows WHERE NOT used ORDER BY name, part"
_OVERLAPPING = """
SELECT name || part FROM (
    SELECT *, max(start_s + length_s) OVER (
        PARTITION BY name ORDER BY start_s, part ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS covered_s FROM rows WHERE part <> ''
) WHERE start_s < covered_s - 1e-6 ORDER BY name, part
"""


class Described:
    """What a table says about the recordings in a folder; nothing if there is no table."""

    def __init__(self, audio_dir: Path, table: Table | None) -> None:
        self._audio_dir = audio_dir
        self.origin = None if table is None else str(table.path)  # what describes the recordings
        self.left_out: Counter[str] = Counter() if table is None else table.left_out  # columns without labels
        self.has_sidecars = False  # whether labels lie beside recordings, in tar files
        self.repeated = 0  # rows that a later row has replaced
        self._connection = sqlite3.connect("")  # a temporary database, which SQLite deletes
        self._connection.executescript(_SCHEMA)
        if table is not None:
            self._load(audio_dir, table)

    @classmethod
    def open(cls, audio_dir: Path, choice: LabelChoice) -> Self:
        """Read all of the table that a choice names, or that lies in the folder of recordings.

        Raises
        ------
        DatasetError
            A table or a row of it cannot be read, or there are two tables in the folder.
        UsageError
            The table's path is wrong.
        StorageUnavailableError
            There is no room for the temporary database.
        """
        path = find_table(audio_dir) if choice.metadata is None else require_table(choice.metadata)
        try:
            return cls(audio_dir, None if path is None else Table(path=path))
        except sqlite3.Error as exc:
            raise StorageUnavailableError(f"the rows of {path} cannot be kept in a temporary file: {exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()

    def spread(self, found: Iterable[RecordingFile], findings: Findings) -> Iterator[RecordingFile]:
        """Yield recordings; for one of which rows describe parts, yield these parts instead."""
        for recording in found:
            self._read_sidecars(recording.path, findings)
            for part in self._parts(recording.path):
                one = recording if part is None else part.of(recording)
                try:
                    validate_id(one.spectrogram_id)  # the part's times make it longer
                except InvalidIdError as exc:
                    findings.skip(PurePosixPath(recording.path), str(exc))
                else:
                    yield one

    def labels_of(self, spectrogram_id: str, source: str) -> LabelDict | None:
        """Return the labels of a spectrogram, given the path of its recording; None without a row."""
        suffix = spectrogram_id.removeprefix(id_of(source))
        part = suffix.partition("_")[0] if suffix.startswith("@") else ""
        for name in possible_names(source) if self.origin else ():
            row = self._connection.execute(_LABELS, (name, part)).fetchone()
            if row is not None:
                self._connection.execute(_USE, (name, part))
                return dict(json.loads(row[0]))
        return None

    def unused(self, most: int) -> tuple[int, list[str]]:
        """Return how many rows `labels_of` did not return, and the first of them."""
        return self._counted(_UNUSED, most)

    def overlapping(self, most: int) -> tuple[int, list[str]]:
        """Return how many parts begin before an earlier part of their recording ends, and the first of them."""
        return self._counted(_OVERLAPPING, most)

    def _load(self, audio_dir: Path, table: Table) -> None:
        prefix, root, count = _prefix(table, audio_dir), audio_dir.resolve(), 0
        with self._connection:
            for row in table.rows():
                self._connection.execute(_PUT, _columns(_name(row.file_name, prefix, root), row))
                count += 1
        self.repeated = count - self._connection.execute("SELECT count(*) FROM rows").fetchone()[0]

    def _read_sidecars(self, source: str, findings: Findings) -> None:
        """Read the labels of a recording in a tar file."""
        labels, problems = sidecar_labels(self._audio_dir / source)
        for name, problem in problems:
            findings.skip(PurePosixPath(source).with_name(name), problem)
        if labels:
            self.has_sidecars = True
            self.origin = self.origin or str(self._audio_dir)
            labels_json = json.dumps(clean_labels(labels, self.left_out))
            self._connection.execute(_PUT_SIDECARS, (source, labels_json))

    def _parts(self, source: str) -> list[Part | None]:
        for name in possible_names(source) if self.origin else ():
            rows = self._connection.execute(
                "SELECT part, start_s, length_s FROM rows WHERE name = ?", (name,)
            ).fetchall()
            if rows:
                return [Part(start_s=start_s, length_s=length_s) if part else None for part, start_s, length_s in rows]
        return [None]

    def _counted(self, statement: str, most: int) -> tuple[int, list[str]]:
        found = self._connection.execute(statement)
        names = [name for (name,) in found.fetchmany(most)]
        return len(names) + sum(1 for _ in found), names


def possible_names(source: str) -> tuple[str, str, str]:
    """Return the names by which a table can mean a recording."""
    own_id = id_of(source)
    return source, own_id, PurePosixPath(own_id).name


def id_of(source: str) -> str:
    """Return the ID of the spectrogram of a whole recording."""
    return PurePosixPath(source).with_suffix("").as_posix()


def _prefix(table: Table, audio_dir: Path) -> str | None:
    """Return the folder that the names of a table start from; None if the last component alone counts."""
    if table.kind == ".json":
        return None  # NSynth's names have no folder
    folder, root = table.path.resolve().parent, audio_dir.resolve()
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ""


def _name(file_name: str, prefix: str | None, root: Path) -> str:
    """Return the name of the recording that a row describes; one of its `possible_names` if it is in the folder."""
    if prefix is None:
        return file_name
    name = posixpath.normpath(posixpath.join(prefix, file_name))
    return name.removeprefix(f"{root}/")


def _columns(name: str, row: Row) -> tuple[str, str, float | None, float | None, str]:
    labels = json.dumps(row.labels)
    return (name, "", None, None, labels) if row.part is None else (
        name, row.part.suffix, row.part.start_s, row.part.length_s, labels
    )  # fmt: skip
