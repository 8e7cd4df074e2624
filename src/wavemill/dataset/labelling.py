"""Writes labels from a table, names or folders into the rows of a dataset.

The table's rows are kept in a temporary table on the index's connection, so that a million of them
take disk space, not memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from wavemill.dataset.entries import READABLE_LABELS
from wavemill.dataset.label_sources import LabelChoice, LabelDict, name_labels, with_known_split
from wavemill.dataset.metadata import Row, Table, find_table, require_table
from wavemill.dataset.writing import DatasetWriter

_PAGE = 10_000
_EXAMPLES = 20
_TABLE = "CREATE TEMP TABLE described (name TEXT PRIMARY KEY, labels TEXT, used INTEGER DEFAULT 0) WITHOUT ROWID"
_ROWS = f"SELECT id, source, {READABLE_LABELS} FROM spectrograms WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 constant


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What a table, or the names, said about the recordings of a dataset."""

    table: str | None  # None: labels come from names alone
    labelled: int = 0  # spectrograms with at least one label
    without_row: int = 0  # spectrograms that the table does not describe
    without_row_examples: list[str] = field(default_factory=list)
    unused_rows: int = 0  # rows of the table that describe no spectrogram
    unused_examples: list[str] = field(default_factory=list)
    left_out_columns: list[str] = field(default_factory=list)  # with values that are neither texts nor numbers


def label_dataset(writer: DatasetWriter, audio_dir: Path, choice: LabelChoice) -> LabelReport | None:
    """Label every spectrogram of a dataset; None, and no change, if nothing says how.

    Raises
    ------
    DatasetError
        A table cannot be read, or there are two in the folder of recordings.
    UsageError
        The pattern or the table's path is wrong.
    """
    table = _table(audio_dir, choice)
    if table is None and not choice.by_names:
        return None
    return _Labelling(writer, audio_dir, choice, table).run()


def require_label_sources(audio_dir: Path, choice: LabelChoice) -> None:
    """Raise the errors of `label_dataset` that can be known before anything is built."""
    name_labels(choice)
    if table := _table(audio_dir, choice):
        next(table.rows(), None)


def _table(audio_dir: Path, choice: LabelChoice) -> Table | None:
    path = find_table(audio_dir) if choice.metadata is None else require_table(choice.metadata)
    return None if path is None else Table(path=path)


class _Labelling:
    def __init__(self, writer: DatasetWriter, audio_dir: Path, choice: LabelChoice, table: Table | None) -> None:
        self._writer, self._audio_dir, self._table = writer, audio_dir, table
        self._connection = writer.connection
        self._by_name = name_labels(choice)

    def run(self) -> LabelReport:
        if self._table is not None:
            self._read_table(self._table)
        labelled, without_row, examples = 0, 0, list[str]()
        for page in self._pages():
            changed = []
            for spectrogram_id, source, before in page:
                described = self._described(source)
                labels = with_known_split(self._by_name(id_of(source)) | (described or {}))
                labelled += bool(labels)
                if described is None and self._table is not None:
                    without_row += 1
                    examples += [source] if without_row <= _EXAMPLES else []
                if json.loads(before) != labels:
                    changed.append((spectrogram_id, labels))
            self._writer.relabel(changed)
        if self._table is None:
            return LabelReport(table=None, labelled=labelled)
        unused = self._connection.execute("SELECT name FROM temp.described WHERE NOT used ORDER BY name")
        names = [name for (name,) in unused.fetchmany(_EXAMPLES)]
        return LabelReport(
            table=str(self._table.path),
            labelled=labelled,
            without_row=without_row,
            without_row_examples=examples,
            unused_rows=len(names) + sum(1 for _ in unused),
            unused_examples=names,
            left_out_columns=sorted(self._table.left_out),
        )

    def _read_table(self, table: Table) -> None:
        self._connection.execute(_TABLE)
        prefix = table_prefix(table.path, self._audio_dir)
        rows = ((row_name(prefix, row), json.dumps(row[1])) for row in table.rows())
        with self._connection:
            while page := list(islice(rows, _PAGE)):
                self._connection.executemany("INSERT OR REPLACE INTO temp.described (name, labels) VALUES (?, ?)", page)

    def _pages(self) -> Iterator[list[tuple[str, str, str]]]:
        after = ""
        while page := self._connection.execute(_ROWS, (after, _PAGE)).fetchall():
            after = page[-1][0]
            yield page

    def _described(self, source: str) -> LabelDict | None:
        """Return the labels in the table's row for a recording; None without a row."""
        if self._table is None:
            return None
        for name in possible_names(source):
            row = self._connection.execute("SELECT labels FROM temp.described WHERE name = ?", (name,)).fetchone()
            if row is not None:
                self._connection.execute("UPDATE temp.described SET used = 1 WHERE name = ?", (name,))
                return dict(json.loads(row[0]))
        return None


def table_prefix(path: Path, audio_dir: Path) -> PurePosixPath | None:
    """Return the folder that the names of a table start from; None if the last component alone counts."""
    if path.suffix.lower() == ".json":
        return None  # NSynth's names have no folder
    folder, root = path.resolve().parent, audio_dir.resolve()
    return PurePosixPath(folder.relative_to(root)) if folder.is_relative_to(root) else PurePosixPath()


def row_name(prefix: PurePosixPath | None, row: Row) -> str:
    """Return the name of the recording that a row describes; one of its `possible_names` if it is in the folder."""
    return row[0] if prefix is None else str(prefix / row[0])


def possible_names(source: str) -> tuple[str, str, str]:
    """Return the names by which a table can mean a recording."""
    own_id = id_of(source)
    return source, own_id, PurePosixPath(own_id).name


def id_of(source: str) -> str:
    """Return the ID of the spectrogram of a whole recording."""
    return PurePosixPath(source).with_suffix("").as_posix()
