"""Reads tables of labels: `metadata.csv`, `.jsonl` or `.parquet`, as Hugging Face's AudioFolder has them.

Also reads `examples.json` of NSynth.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavemill.errors import DatasetError, UsageError
from wavemill.labels import LabelValue, is_label_value, number_in

FILE_NAME = "file_name"
_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "examples.json")
_MOST_LINE = 2**20  # characters of a row

Row = tuple[str, dict[str, LabelValue]]  # the name of a file, its labels


@dataclass(kw_only=True)
class Table:
    """A table of labels, read row by row."""

    path: Path
    left_out: Counter[str] = field(default_factory=Counter)  # columns with values that are no labels

    def rows(self) -> Iterator[Row]:
        """Yield the rows.

        Raises
        ------
        DatasetError
            The table cannot be read, or a row names no file.
        """
        with _readable(self.path):
            for number, (name, values) in enumerate(_READERS[_kind(self.path)](self.path), start=1):
                if not isinstance(name, str) or not name:
                    raise DatasetError(f"{self.path}: row {number} has no {FILE_NAME}")
                yield name, self._labels(values)

    def _labels(self, values: dict[str, Any]) -> dict[str, LabelValue]:
        labels: dict[str, LabelValue] = {}
        for key, value in values.items():
            if value is None or value == "":
                continue
            value = str(value).lower() if isinstance(value, bool) else value
            if isinstance(key, str) and key and is_label_value(value):
                labels[key] = value
            else:
                self.left_out[str(key)] += 1
        return labels


def find_table(audio_dir: Path) -> Path | None:
    """Return the table that lies in the folder of recordings, or None; DatasetError if there are two."""
    found = [path for name in _NAMES if (path := audio_dir / name).is_file()]
    if len(found) > 1:
        raise DatasetError(f"{found[0]} and {found[1]} are both tables of labels; choose one with --metadata")
    return found[0] if found else None


def require_table(path: Path) -> Path:
    """Return the path of a table; UsageError if its kind is not known or there is no such file."""
    if not path.is_file():
        raise UsageError(f"--metadata {path} is not an existing file")
    _kind(path)
    return path


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UsageError(f"--metadata {path}: expected one of {', '.join(sorted(_READERS))}")
    return suffix


def _csv_rows(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    numeric = _numeric_columns(path)
    for row in _csv_dicts(path):
        name = row.pop(FILE_NAME)
        yield name, {key: number_in(text) if key in numeric and text else text for key, text in row.items()}


def _numeric_columns(path: Path) -> set[str]:
    """Return the columns of which every value that is not empty is a number."""
    numeric: set[str] | None = None
    for row in _csv_dicts(path):
        numeric = set(row) if numeric is None else numeric
        numeric -= {key for key, text in row.items() if text and number_in(text) is None}
    return numeric or set()


def _csv_dicts(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="")
        if FILE_NAME not in (reader.fieldnames or ()):
            raise ValueError(f"it has no column {FILE_NAME!r}")
        yield from reader


def _jsonl_rows(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        while line := file.readline(_MOST_LINE):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict) or FILE_NAME not in row:
                raise ValueError(f"a line is no object with {FILE_NAME!r}")
            yield row.pop(FILE_NAME), row


def _parquet_rows(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as exc:
        raise UsageError("reading a Parquet table needs pyarrow: pip install 'wavemill[export]'") from exc
    try:
        with ParquetFile(path) as file:
            if FILE_NAME not in file.schema_arrow.names:
                raise ValueError(f"it has no column {FILE_NAME!r}")
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    yield row.pop(FILE_NAME), row
    except ArrowException as exc:
        raise ValueError(str(exc)) from exc


def _nsynth_rows(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the notes of NSynth's `examples.json`, an object of objects by the name of the note."""
    with path.open(encoding="utf-8-sig") as file:
        notes = json.load(file)
    if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
        raise ValueError("it is no object of objects, each by the name of its recording")
    yield from notes.items()


_READERS: dict[str, Callable[[Path], Iterable[tuple[Any, dict[str, Any]]]]] = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
    ".json": _nsynth_rows,
}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError, csv.Error) as exc:
        raise DatasetError(f"{path} cannot be read as a table of labels: {exc}") from exc
