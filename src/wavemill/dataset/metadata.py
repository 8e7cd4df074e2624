"""Reads tables of labels: `metadata.csv`, `.jsonl` or `.parquet`, as Hugging Face's AudioFolder has them.

Also reads manifests of NeMo and `examples.json` of NSynth. A row with a start and a duration names a
part of a recording.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from wavemill.dataset.entries import is_text
from wavemill.dataset.extents import LONGEST_S
from wavemill.dataset.parts import SHORTEST_S, Part
from wavemill.errors import DatasetError, UsageError
from wavemill.labels import LabelValue, is_label_value, number_in

FILE_NAME = "file_name"
# The columns that name a file, each with the column that may say where a part of the file begins. The
# second pair is that of NeMo's manifests:
# https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
_START_COLUMNS = {FILE_NAME: "start", "audio_filepath": "offset"}
_DURATION = "duration"
_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "examples.json")
_MOST_LINE = 2**20  # characters of a row

Values = dict[str, Any]  # of a row, by column


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a table says about a recording, or about a part of it."""

    file_name: str
    labels: dict[str, LabelValue]
    part: Part | None = None  # None: all of the recording


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
            The table cannot be read; or a row names no file, or a part that no recording can have.
        """
        with _readable(self.path):
            for number, values in enumerate(_READERS[self.kind](self.path), start=1):
                column = _file_column(values)
                name = values.pop(column)
                if not (isinstance(name, str) and name and is_text(name)):
                    raise DatasetError(f"{self.path}: row {number} has no {column}")
                part = self._part(number, values, _START_COLUMNS[column])
                yield Row(file_name=name, part=part, labels=clean_labels(values, self.left_out))

    @cached_property
    def kind(self) -> str:
        """The suffix of tables of its form: `.jsonl` also for a `.json` with a row in each line, as NeMo has it."""
        suffix = _suffix(self.path)
        with _readable(self.path):
            return ".jsonl" if suffix == ".json" and _begins_with_row(self.path) else suffix

    def _part(self, number: int, values: Values, start_column: str) -> Part | None:
        """Return the part that a row names, and take it out of the row's values; None for all of the recording."""
        if _DURATION not in values or values.get(start_column) in (None, ""):
            return None
        given = values.pop(start_column), values.pop(_DURATION)
        start_s, length_s = map(_number, given)
        if (
            start_s is None
            or length_s is None
            or not (0 <= start_s <= LONGEST_S and SHORTEST_S <= length_s <= LONGEST_S)
        ):
            article = "an" if start_column == "offset" else "a"
            raise DatasetError(
                f"{self.path}: row {number}: expected {article} {start_column} of 0 or more and a {_DURATION} of at "
                f"least {SHORTEST_S}, in seconds, received {given[0]!a:.40} and {given[1]!a:.40}; "
                "mend or remove this row"
            )
        return Part(start_s=float(start_s), length_s=float(length_s))


def clean_labels(values: Values, left_out: Counter[str]) -> dict[str, LabelValue]:
    """Return the values that can be labels; count the others by name, unless they are empty."""
    labels: dict[str, LabelValue] = {}
    for key, value in values.items():
        if value is None or value == "":
            continue
        value = str(value).lower() if isinstance(value, bool) else value
        if isinstance(key, str) and key and is_label_value(value) and is_text(f"{key}{value}"):
            labels[key] = value
        else:
            left_out[str(key) or "a column without a name"] += 1
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
    _suffix(path)
    return path


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UsageError(f"--metadata {path}: expected one of {', '.join(sorted(_READERS))}")
    return suffix


def _file_column(columns: Collection[str], *, where: str = "it") -> str:
    """Return the column that names files."""
    for column in _START_COLUMNS:
        if column in columns:
            return column
    raise ValueError(f"{where} has no column {' or '.join(map(repr, _START_COLUMNS))}")


def _number(value: object) -> int | float | None:
    """Return a number that stands in a row as a number or as a text; None if it is none."""
    if isinstance(value, str):
        return number_in(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _csv_rows(path: Path) -> Iterator[Values]:
    numeric = _numeric_columns(path)
    for row in _csv_dicts(path):
        yield {key: number_in(text) if key in numeric and text else text for key, text in row.items()}


def _numeric_columns(path: Path) -> set[str]:
    """Return the columns, except that of the files, of which every value that is not empty is a number."""
    numeric: set[str] | None = None
    for row in _csv_dicts(path):
        numeric = set(row) - {_file_column(row)} if numeric is None else numeric
        numeric -= {key for key, text in row.items() if text and number_in(text) is None}
    return numeric or set()


def _csv_dicts(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, skipinitialspace=True)
        columns = [name.strip() for name in next(lines, [])]
        _require_columns(columns)
        for number, cells in enumerate(filter(None, lines), start=1):
            if any(cells[len(columns) :]):
                raise ValueError(f"row {number} has more values than there are columns; quote values with commas")
            yield dict(zip_longest(columns, cells[: len(columns)], fillvalue=""))


def _require_columns(columns: Sequence[str]) -> None:
    """Raise ValueError unless one of the columns names files, and each has a name of its own."""
    if len(columns) == 1 and (other := re.search(r"[;\t]", columns[0])):
        raise ValueError(f"its columns are divided by {other[0]!r}; divide them by commas")
    _file_column(columns)
    if doubled := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise ValueError(f"it has several columns {doubled[0]!r}; rename or remove all but one")


def _jsonl_rows(path: Path) -> Iterator[Values]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(iter(partial(file.readline, _MOST_LINE), ""), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as exc:
                raise ValueError(f"line {number} is no JSON: {exc}") from exc
            _file_column(row if isinstance(row, dict) else (), where=f"line {number}")
            yield row


def _begins_with_row(path: Path) -> bool:
    """Return whether the first line of a file is an object that names a file."""
    try:
        row = next(iter(_jsonl_rows(path)), None)
        return row is not None and isinstance(row[_file_column(row)], str)
    except (ValueError, RecursionError):
        return False


def _parquet_rows(path: Path) -> Iterator[Values]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as exc:
        raise UsageError("reading a Parquet table needs pyarrow: pip install 'wavemill[export]'") from exc
    try:
        with ParquetFile(path) as file:
            _require_columns(file.schema_arrow.names)
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except ArrowException as exc:
        raise ValueError(str(exc)) from exc


def _nsynth_rows(path: Path) -> Iterator[Values]:
    """Yield the notes of NSynth's `examples.json`, an object of objects by the name of the note."""
    with path.open(encoding="utf-8-sig") as file:
        notes = json.load(file)
    if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
        raise ValueError("it is no object of objects, each by the name of its recording")
    yield from (note | {FILE_NAME: name} for name, note in notes.items())


_READERS: dict[str, Callable[[Path], Iterable[Values]]] = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
    ".json": _nsynth_rows,
}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{path} cannot be read as a table of labels: it is not in UTF-8; save it as UTF-8") from exc
    except (OSError, ValueError, RecursionError, csv.Error) as exc:
        raise DatasetError(f"{path} cannot be read as a table of labels: {exc}") from exc
