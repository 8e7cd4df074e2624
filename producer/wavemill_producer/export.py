"""Writes a batch's jobs, with the labels of their sources, as CSV, JSON lines or Parquet, or its outputs as a ZIP.

All is streamed.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

from sqlalchemy import DateTime, Integer, Row

from wavemill.errors import UsageError
from wavemill.jobs.schema import jobs
from wavemill.labels import LabelValue
from wavemill.storage.locations import batch_root
from wavemill.storage.reading import open_output
from wavemill.text.shown import is_plain_text, json_text, shown_lines
from wavemill_producer.job import Job
from wavemill_producer.source_labels import SourceLabels

_PAGE = 10_000  # rows in a Parquet row group
# Where a spreadsheet may see a formula: at the start of a cell, after ";" (a separator in some
# locales), or on a new line.
_FORMULA = re.compile(r"(?:^|(?<=[;\n]))(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r])")
_LARGEST_OUTPUT = 2**30  # bytes; wavemill writes no larger file
_SPOOLED = 2**23  # bytes held in memory
_COLUMNS = [column.name for column in jobs.c]
JobRow = Row[Any] | Job
# Column of the path -> column of its digest. A latent also has a .json file beside it, which has
# none.
_OUTPUTS = {"generated_path": "sha256", "original_path": "original_sha256", "latent_path": "latent_sha256"}


@dataclass(kw_only=True)
class Exported:
    """What was written; `damaged` lists the outputs of done jobs that are missing or changed."""

    jobs: int = 0
    files: int = 0
    damaged: list[str] = field(default_factory=list)


def write_csv(labels: SourceLabels, rows: Iterable[JobRow], file: IO[bytes], _status: Mapping[str, Any]) -> Exported:
    """Write a header and one line per job. JSON values in the table stay JSON in their cells."""
    exported = Exported()
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in [*_COLUMNS, *labels.columns]])
    for row, found in labels.beside(rows):
        writer.writerow([_cell(value) for value in [*row, *map(found.get, labels.columns)]])
        exported.jobs += 1
    text.detach()
    return exported


def write_jsonl(labels: SourceLabels, rows: Iterable[JobRow], file: IO[bytes], _status: Mapping[str, Any]) -> Exported:
    """Write one object per line, as `wavemill jobs --json` prints them, with the labels of the source."""
    exported = Exported()
    for row, found in labels.beside(rows):
        file.write(_json_line(row, found))
        exported.jobs += 1
    return exported


def write_parquet(
    labels: SourceLabels, rows: Iterable[JobRow], file: IO[bytes], _status: Mapping[str, Any]
) -> Exported:
    """Write a table with the same columns. JSON values are text, times are UTC microseconds."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise UsageError("Parquet needs pyarrow: pip install 'wavemill[export]', or choose --format jsonl") from exc
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema(
        [(column.name, _arrow_type(pa, column.type)) for column in jobs.c]
        + [(name, kinds[kind]) for name, kind in labels.columns.items()]
    )
    exported = Exported()
    iterator = ([*row, *map(found.get, labels.columns)] for row, found in labels.beside(rows))
    with parquet.ParquetWriter(file, schema) as writer:
        while page := list(islice(iterator, _PAGE)):
            columns = zip(*[[_arrow_value(value) for value in row] for row in page], strict=True)
            arrays = [pa.array(column, type=one.type) for column, one in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            exported.jobs += len(page)
    return exported


def write_zip(labels: SourceLabels, rows: Iterable[JobRow], file: IO[bytes], status: Mapping[str, Any]) -> Exported:
    """Write every output, under its path below the batch's folder, and two JSON files.

    `manifest.jsonl` has one line per job, `batch.json` the batch's status. An output that is
    missing or changed is left out and listed in `damaged`.
    """
    exported = Exported()
    root = batch_root(status["output"], status["id"]).removeprefix("file://")
    # Stored uncompressed, since sound hardly shrinks. A ZIP is written one entry at a time, so the
    # manifest is collected in a temporary file and comes last.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, tempfile.TemporaryFile() as manifest:
        for row, found in labels.beside(rows):
            manifest.write(_json_line(row, found))
            exported.jobs += 1
            for path, digest in _outputs(row):
                if not _add(archive, path, root, digest):
                    exported.damaged.append(path)
                    continue
                exported.files += 1
        manifest.seek(0)
        with archive.open("manifest.jsonl", "w", force_zip64=True) as entry:
            shutil.copyfileobj(manifest, entry)
        archive.writestr("batch.json", json_text(status, default=_plain, indent=2))
    return exported


FORMATS: Mapping[str, Callable[[SourceLabels, Iterable[JobRow], IO[bytes], Mapping[str, Any]], Exported]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "zip": write_zip,
}


def _outputs(row: JobRow) -> Iterator[tuple[str, str | None]]:
    for path_column, digest_column in _OUTPUTS.items():
        path = getattr(row, path_column)
        if path is not None:
            yield path, getattr(row, digest_column)
    if row.latent_path is not None:
        yield f"{row.latent_path.removesuffix('.npy')}.json", None


def _add(archive: zipfile.ZipFile, path: str, root: str, digest: str | None) -> bool:
    """Add an output under its path in the batch. Return False if it is missing or changed."""
    name = path.removeprefix(f"{root}/")
    if name == path or not _is_safe(name):  # a forged row could name a member that unpacks elsewhere
        return False
    with tempfile.SpooledTemporaryFile(_SPOOLED) as copy:
        if not _copied(path, root, copy, digest):
            return False
        copy.seek(0)
        about = zipfile.ZipInfo(name, time.localtime()[:6])
        about.external_attr = 0o600 << 16
        with archive.open(about, "w", force_zip64=True) as entry:
            shutil.copyfileobj(copy, entry)
    return True


def _is_safe(name: str) -> bool:
    return is_plain_text(name) and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def _copied(path: str, root: str, copy: IO[bytes], digest: str | None) -> bool:
    """Copy a file in pieces. Return False if it is too large, or its SHA-256 is not `digest`."""
    found = hashlib.sha256()
    try:
        output, _, batch_id = root.rpartition("/")
        with open_output(path, output=output, batch_id=batch_id) as (file, _size):  # follows no link out of the batch
            while piece := file.read(_SPOOLED):
                found.update(piece)
                copy.write(piece)
                if copy.tell() > _LARGEST_OUTPUT:
                    return False
    except Exception:  # missing or unreachable: each kind of store raises its own errors
        return False
    return digest is None or found.hexdigest() == digest


def _json_line(row: JobRow, labels: Mapping[str, LabelValue]) -> bytes:
    return f"{json_text({**row._mapping, **labels}, default=_plain)}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _cell(value: Any) -> Any:
    """Return a cell's content. An apostrophe keeps text from being run as a formula."""
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json_text(value).replace(";", "\\u003b")  # in JSON, ";" occurs only within strings
    return shown_lines(_FORMULA.sub("'", value)) if isinstance(value, str) else value


def _arrow_type(pa: Any, kind: Any) -> Any:
    if isinstance(kind, Integer):
        return pa.int64()
    is_time = isinstance(getattr(kind, "impl", kind), DateTime)
    return pa.timestamp("us", tz="UTC") if is_time else pa.string()


def _arrow_value(value: Any) -> Any:
    return json_text(value) if isinstance(value, dict | list) else value
