"""Exports: a batch's jobs, or its outputs, as one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any, Literal

from fastapi import APIRouter, Depends, Request
from starlette.responses import StreamingResponse

from wavemill_producer.batch import Batch
from wavemill_producer.export import FORMATS
from wavemill_producer.source_labels import SourceLabels
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.api.arguments import BatchId
from wavemill_producer.web.api.batches import batch_of

router = APIRouter(dependencies=[Depends(may(Role.READ))], tags=["batches"])
_PIECE = 2**18  # bytes
_SPOOLED = 2**23  # bytes held in memory
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "zip": "application/zip",
}
_FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


@router.get("/batches/{batch_id}/export", name="export", response_class=StreamingResponse, responses=_FILE)
def export(
    request: Request,
    batch_id: BatchId,
    format: Literal["csv", "jsonl", "parquet", "zip"] = "csv",  # noqa: A002
) -> StreamingResponse:
    """Return one row per job, or a ZIP of the outputs. Cells that a spreadsheet would run begin with an apostrophe."""
    batch = batch_of(request, batch_id)
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115  closed when it is sent
    try:
        _write(batch, format, file)
    except BaseException:
        file.close()
        raise
    headers = {
        "content-disposition": f'attachment; filename="{batch.id}.{format}"',
        "content-length": str(file.tell()),
    }
    return StreamingResponse(_pieces(file), headers=headers, media_type=MEDIA_TYPES[format])


def _write(batch: Batch, kind: str, file: IO[bytes]) -> None:
    status = batch.status()
    with closing(SourceLabels(status)) as labels:
        FORMATS[kind](labels, batch.rows(), file, status)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece
