"""Jobs: listed by a filter, shown, rated."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from wavemill.errors import NotFoundError
from wavemill.jobs.filters import parse
from wavemill.jobs.ratings import rate
from wavemill.jobs.sorting import listed_page, order_in
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json
from wavemill_producer.web.api.arguments import JobId, Limit, Sort, Where

router = APIRouter(tags=["jobs"])
_MAY_READ, _MAY_SUBMIT = [Depends(may(Role.READ))], [Depends(may(Role.SUBMIT))]


class NewRating(BaseModel):
    """A rating, or null to take it away."""

    model_config = ConfigDict(extra="forbid")

    rating: int | None = Field(ge=1, le=5)


@router.get("/jobs", dependencies=_MAY_READ)
def list_jobs(
    request: Request,
    batch: Annotated[str | None, Query(max_length=200, description="A batch's ID or name; null: of all.")] = None,
    where: Where = [],  # noqa: B006  FastAPI copies it
    sort: Sort = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="The `after` of the page before.")] = 0,
    limit: Limit = 100,
) -> Json:
    """Return a page of jobs that meet all conditions, in the order of their IDs or of a field.

    `after` is null at the end. A page may be short, or empty, before the end: `seen` jobs were looked at.
    """
    producer = request.app.state.producer
    batch_id = None if batch is None else producer.batch(batch).id
    page = listed_page(
        producer.database,
        batch_id=batch_id,
        conditions=parse(where),
        order=None if sort is None else order_in(sort),
        after=after,
        limit=limit,
    )
    return Json({"jobs": [dict(row) for row in page.rows], "after": page.after, "seen": page.seen})


@router.get("/jobs/{job_id}", dependencies=_MAY_READ)
def job(request: Request, job_id: JobId) -> Json:
    """Return one job with its batch's request and every attempt."""
    return Json(request.app.state.producer.job(job_id))


@router.put("/jobs/{job_id}/rating", dependencies=_MAY_SUBMIT)
def rate_job(request: Request, job_id: JobId, new: NewRating) -> Json:
    """Rate a job's sound from 1 to 5."""
    if not rate(request.app.state.producer.database, [job_id], new.rating):
        raise NotFoundError(f"there is no job {job_id}; list them with: wavemill jobs")
    return Json({"id": job_id, "rating": new.rating})
