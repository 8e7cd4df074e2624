"""One job: both sounds side by side, its quality, its attempts, and what to do about its error. All jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse

from wavemill.errors import NotFoundError
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.api.sounds import nearest_clip
from wavemill_producer.web.pages.job_list import JobList, job_list
from wavemill_producer.web.pages.rendering import render
from wavemill_producer.web.pages.route import PageRoute

router = APIRouter(route_class=PageRoute, dependencies=[Depends(may(Role.READ))])

# Columns that the page shows in other ways.
_APART = frozenset(
    {
        *("id", "batch_id", "spectrogram_id", "state", "error", "error_code", "quality", "timings", "attempts"),
        *("rating", "rated_at"),  # the stars change without loading the page again
    }
)
_ADVICE = {
    "bad-spectrogram": "Look at the recording, then build the dataset again: wavemill dataset build.",
    "silent-spectrogram": "The recording is silent, so there is nothing to make sound from.",
    "model-not-here": "Put the model that the batch names where the workers look for models, see: wavemill doctor.",
    "unwritable-output": "See whether the workers can write to the output folder, then retry the failed jobs.",
    "worker-lost": "The job killed its workers. Look at its input and at the workers' logs before a retry.",
}


@router.get("/jobs", response_class=HTMLResponse)
def jobs(request: Request, listed: Annotated[JobList, Depends(job_list)]) -> HTMLResponse:
    """Show jobs of all batches."""
    return render(request, "jobs.html", listed=listed)


@router.get("/jobs/{job_id}", response_class=HTMLResponse)
def job(request: Request, job_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> HTMLResponse:
    """Show one job."""
    producer: Producer = request.app.state.producer
    found = producer.job(job_id)
    return render(
        request,
        "job.html",
        job=found,
        sounds=[which for which in ("generated", "original") if found["state"] == "done" and found[f"{which}_path"]],
        facts=_facts(found),
        advice=_ADVICE.get(found["error_code"] or ""),
    )


@router.get("/jobs/{job_id}/nearest", response_class=HTMLResponse)
def nearest(request: Request, job_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> HTMLResponse:
    """Return the part of a sample's page that names the clip which it is most like."""
    try:
        found, problem = nearest_clip(request, job_id), None
    except NotFoundError as exc:
        found, problem = None, str(exc)
    other = None if found is None or found["job_id"] is None else request.app.state.producer.job(found["job_id"])
    return render(request, "parts/nearest.html", found=found, problem=problem, other=other)


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    """Return where the job comes from: its columns that have a value, with the parameters one by one."""
    facts = {key: value for key, value in found.items() if key not in _APART and value not in (None, {}, "")}
    inner = {name: facts.pop(name, {}) for name in ("metadata", "params")}
    return facts | {
        f"{name}.{key}": value for name, values in inner.items() for key, value in values.items() if value is not None
    }
