"""Batches: listed, shown, cancelled, paused, resumed, retried."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from wavemill.jobs.tags import tags_from
from wavemill_producer.batch import Batch
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json
from wavemill_producer.web.api.arguments import BatchId, Limit, Tags, Where

router = APIRouter(tags=["batches"])
_MOST_RATED = 4_000  # jobs read for one answer
_MAY_READ, _MAY_SUBMIT = [Depends(may(Role.READ))], [Depends(may(Role.SUBMIT))]


def batch_of(request: Request, batch_id: str) -> Batch:
    """Return the batch that a path names; NotFoundError if there is none."""
    batch: Batch = request.app.state.producer.batch(batch_id)
    return batch


@router.get("/batches", dependencies=_MAY_READ)
def list_batches(
    request: Request,
    limit: Limit = 100,
    tag: Tags = [],  # noqa: B006  FastAPI copies it
    before: Annotated[str | None, Query(max_length=200, description="The `before` of the page before.")] = None,
) -> Json:
    """Return the statuses of the newest batches, or of those that have all tags, newest first.

    `before` is null at the end.
    """
    producer = request.app.state.producer
    last = None if before is None else producer.batch(before).id
    found = producer.batches(limit=limit, tags=tags_from(tag), before=last)
    return Json({"batches": found, "before": found[-1]["id"] if len(found) == limit else None})


@router.get("/batches/{batch_id}", dependencies=_MAY_READ)
def batch(request: Request, batch_id: BatchId) -> Json:
    """Return a batch's status, as `wavemill status BATCH --json` prints it."""
    return Json(batch_of(request, batch_id).status())


@router.get("/batches/{batch_id}/ratings", dependencies=_MAY_READ)
def ratings(request: Request, batch_id: BatchId) -> Json:
    """Return the mean rating, the mean quality by rating, and their rank correlation, of up to 4,000 rated jobs."""
    found = batch_of(request, batch_id)
    return _done(found, **found.rating_figures(limit=_MOST_RATED))


@router.get("/batches/{batch_id}/deliveries", dependencies=_MAY_READ)
def deliveries(request: Request, batch_id: BatchId) -> Json:
    """Return the calls to a batch's webhook, oldest first: one each time that the batch ends."""
    return Json({"deliveries": batch_of(request, batch_id).deliveries()})


@router.post("/batches/{batch_id}/cancel", dependencies=_MAY_SUBMIT)
def cancel(request: Request, batch_id: BatchId) -> Json:
    """Cancel the unfinished jobs of a batch; finished outputs are kept."""
    found = batch_of(request, batch_id)
    return _done(found, cancelled=found.cancel())


@router.post("/batches/{batch_id}/pause", dependencies=_MAY_SUBMIT)
def pause(request: Request, batch_id: BatchId) -> Json:
    """Start no more jobs of a batch until it is resumed."""
    found = batch_of(request, batch_id)
    found.pause()
    return _done(found)


@router.post("/batches/{batch_id}/resume", dependencies=_MAY_SUBMIT)
def resume(request: Request, batch_id: BatchId) -> Json:
    """Resume a paused batch."""
    found = batch_of(request, batch_id)
    found.resume()
    return _done(found)


@router.post("/batches/{batch_id}/retry", dependencies=_MAY_SUBMIT)
def retry(
    request: Request,
    batch_id: BatchId,
    failed: Annotated[bool, Query(description="Only failed jobs, not cancelled ones.")] = False,
    where: Where = [],  # noqa: B006  FastAPI copies it
) -> Json:
    """Queue a batch's failed and cancelled jobs again, or those of them that meet all conditions."""
    found = batch_of(request, batch_id)
    return _done(found, retried=found.retry(only_failed=failed, where=where))


def _done(found: Batch, **values: Any) -> Json:
    return Json({"batch_id": found.id, **values})
