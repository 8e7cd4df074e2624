"""Jobs: listed and shown."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json
from wavemill_producer.web.api.arguments import JobId

router = APIRouter(dependencies=[Depends(may(Role.READ))], tags=["jobs"])


@router.get("/jobs/{job_id}")
def job(request: Request, job_id: JobId) -> Json:
    """Return one job with its batch's request and every attempt."""
    return Json(request.app.state.producer.job(job_id))
