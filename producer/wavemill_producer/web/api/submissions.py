"""Submitting batches: IDs in the body, or in an uploaded file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Header, Request, UploadFile
from pydantic import ValidationError

from wavemill.errors import UsageError
from wavemill_producer.batch import Batch
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json
from wavemill_producer.web.new_batch import NewBatch, submit, uploaded_ids

router = APIRouter(dependencies=[Depends(may(Role.SUBMIT))], tags=["batches"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The same key with the same request returns the same batch; another request is refused.",
    ),
]


@router.post("/batches", status_code=201)
def submit_batch(request: Request, new: NewBatch, key: Key = None) -> Json:
    """Queue a batch whose IDs stand in the body, at most 8 MiB; upload larger lists."""
    return _made(submit(request.app.state.producer, new, ids=None, key=key))


@router.post("/batches/upload", status_code=201)
def upload_batch(
    request: Request,
    batch: Annotated[str, Form(max_length=100_000, description="The request as JSON, as for `POST /batches`.")],
    ids: Annotated[
        UploadFile,
        File(description="One ID a line, or one JSON object with `id`, `custom_id` and `metadata`; 128 MiB."),
    ],
    key: Key = None,
) -> Json:
    """Queue a batch whose IDs are uploaded as a file."""
    try:
        new = NewBatch.model_validate_json(batch)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise UsageError(f"batch.{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}") from exc
    return _made(submit(request.app.state.producer, new, ids=uploaded_ids(ids.file), key=key))


def _made(batch: Batch) -> Json:
    return Json({"batch_id": batch.id, "total": batch.status()["total"]}, 201)
