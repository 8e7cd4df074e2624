"""A batch's jobs as a file: CSV, JSON lines, Parquet, or a ZIP of the outputs with a manifest. All of it streamed."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

import fsspec
from sqlalchemy import DateTime, Integer, Row

from wavemill.errors import UsageError
from wavemill.jobs.schema import jobs
from wavemill.storage import batch_root

_PAGE = 10_000  # rows of one row group
_COLUMNS = [column.name for column in jobs.c]
# Column of the path -> column of its digest; levels and provenance of a latent lie beside it.
_OUTPUTS = {"generated_path": "sha256", "original_path": "original_sha256", "latent_path": "latent_sha256"}


@dataclass(kw_only=True)
class Exported:
    """What was written, and outputs of done jobs that are gone or not as they were recorded."""

    jobs: int = 0
    files: int = 0
    damaged: list[str] = field(default_factory=list)


def write_csv(rows: Iterable[Row[Any]], file: IO[bytes], _status: Mapping[str, Any]) -> Exported:
    """Write a header and a line for each job; what is JSON in the table is JSON in its cell."""
    exported = Exported()
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        exported.jobs += 1
    text.detach()
    return exported


def write_jsonl(rows: Iterable[Row[Any]], file: IO[bytes], _status: Mapping[str, Any]) -> Exported:
    """Write one object a line, as `wavemill jobs --json` prints them."""
    exported = Exported()
    for row in rows:
        file.write(_json_line(row))
        exported.jobs += 1
    return exported


def write_parquet(rows: Iterable[Row[Any]], file: IO[bytes], _status: Mapping[str, Any]) -> Exported:
    """Write a table of the same columns; what is JSON stays text, times are UTC microseconds."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise UsageError("Parquet needs pyarrow: pip install 'wavemill[export]', or choose --format jsonl") from exc
    schema = pa.schema([(column.name, _arrow_type(pa, column.type)) for column in jobs.c])
    exported = Exported()
    iterator = iter(rows)
    with parquet.ParquetWriter(file, schema) as writer:
        while page := list(islice(iterator, _PAGE)):
            columns = zip(*[[_arrow_value(value) for value in row] for row in page], strict=True)
            arrays = [pa.array(column, type=one.type) for column, one in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            exported.jobs += len(page)
    return exported


def write_zip(rows: Iterable[Row[Any]], file: IO[bytes], status: Mapping[str, Any]) -> Exported:
    """Write `manifest.jsonl`, which has a line for each job, and every output below it as it lies below the batch.

    An output that is gone, or is not what was recorded, is left out and named in what is returned.
    """
    exported = Exported()
    root = batch_root(status["output"], status["id"]).removeprefix("file://")
    # Sound hardly shrinks. The manifest comes last, from a temporary file: an archive is written one entry at a time.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, tempfile.TemporaryFile() as manifest:
        for row in rows:
            manifest.write(_json_line(row))
            exported.jobs += 1
            for path, digest in _outputs(row):
                data = _read(path)
                if data is None or (digest is not None and hashlib.sha256(data).hexdigest() != digest):
                    exported.damaged.append(path)
                    continue
                archive.writestr(path.removeprefix(f"{root}/"), data)
                exported.files += 1
        manifest.seek(0)
        with archive.open("manifest.jsonl", "w", force_zip64=True) as entry:
            shutil.copyfileobj(manifest, entry)
        archive.writestr("batch.json", json.dumps(status, default=_plain, indent=2))
    return exported


FORMATS: Mapping[str, Callable[[Iterable[Row[Any]], IO[bytes], Mapping[str, Any]], Exported]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "zip": write_zip,
}


def _outputs(row: Row[Any]) -> Iterator[tuple[str, str | None]]:
    for path_column, digest_column in _OUTPUTS.items():
        path = getattr(row, path_column)
        if path is not None:
            yield path, getattr(row, digest_column)
    if row.latent_path is not None:
        yield f"{row.latent_path.removesuffix('.npy')}.json", None


def _read(path: str) -> bytes | None:
    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read()
    except Exception:  # gone, or out of reach: each store has errors of its own
        return None
    return data


def _json_line(row: Row[Any]) -> bytes:
    return (json.dumps(dict(row._mapping), default=_plain, ensure_ascii=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _cell(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _arrow_type(pa: Any, kind: Any) -> Any:
    if isinstance(kind, Integer):
        return pa.int64()
    is_time = isinstance(getattr(kind, "impl", kind), DateTime)
    return pa.timestamp("us", tz="UTC") if is_time else pa.string()


def _arrow_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
