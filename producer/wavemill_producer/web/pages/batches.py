"""All batches, and one batch: counts, failures, figures, and its jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from wavemill.jobs import queries, summary
from wavemill.jobs.database import Database
from wavemill.jobs.tags import tags_from
from wavemill_producer.batch import FINISHED
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.api.arguments import Tags
from wavemill_producer.web.feed import Feed
from wavemill_producer.web.pages.job_list import JobList, job_list
from wavemill_producer.web.pages.plots import PLOTTED, plots
from wavemill_producer.web.pages.rendering import render
from wavemill_producer.web.pages.route import PageRoute
from wavemill_producer.web.shared import Shared

router = APIRouter(route_class=PageRoute, dependencies=[Depends(may(Role.READ))])

_MOST_LISTED = 500
_MAY_SUBMIT = [Depends(may(Role.SUBMIT))]


@router.get("/", response_class=HTMLResponse)
def batches(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 30,
    tag: Tags = [],  # noqa: B006  FastAPI copies it
) -> HTMLResponse:
    """Show the newest batches, or those with the given tags, and how the workers do."""
    shared: Shared = request.app.state.shared
    values = shared.get(("batches", limit, *tag), lambda: _overview(request.app.state.producer, limit, tag))
    return render(request, "batches.html", limit=limit, tags=tag, **values)


def _overview(producer: Producer, limit: int, tag: list[str]) -> dict[str, Any]:
    newest = producer.batches(limit=limit + 1, tags=tags_from(tag))
    return {
        "batches": newest[:limit],
        "more": min(limit * 4, _MOST_LISTED) if len(newest) > limit < _MOST_LISTED else None,
        "left": producer.all_left(),
        "workers": producer.workers(),
        "troubles": producer.troubles(),
        "refused": producer.refused_models(),
    }


@router.get("/banner", response_class=HTMLResponse)
def banner(request: Request) -> HTMLResponse:
    """Return what all pages show at their top while the table is away; nothing while it answers."""
    feed: Feed = request.app.state.feed
    return render(request, "parts/banner.html", sentence=feed.outage)


@router.get("/batches/{batch_id}", response_class=HTMLResponse)
def batch(request: Request, batch_id: str, listed: Annotated[JobList, Depends(job_list)]) -> HTMLResponse:
    """Show one batch."""
    events = f"/batches/{batch_id}/events"
    return render(request, "batch.html", listed=listed, events=events, **_moving(request, batch_id))


@router.get("/batches/{batch_id}/progress", response_class=HTMLResponse)
def progress(request: Request, batch_id: str) -> HTMLResponse:
    """Return the part of a batch's page that moves."""
    return render(request, "parts/progress.html", **_moving(request, batch_id))


@router.get("/batches/{batch_id}/figures", response_class=HTMLResponse)
def figures(request: Request, batch_id: str) -> HTMLResponse:
    """Return the plots of a batch's figures."""
    shared: Shared = request.app.state.shared
    database = request.app.state.producer.database
    read = partial(summary.batch_figures, database, batch_id, fields=tuple(PLOTTED))
    return render(request, "parts/plots.html", plots=plots(shared.get(("figures", batch_id), read)))


@router.post("/batches/{batch_id}/control/{action}", response_class=HTMLResponse, dependencies=_MAY_SUBMIT)
def control(request: Request, batch_id: str, action: Literal["pause", "resume", "cancel", "retry"]) -> HTMLResponse:
    """Do what a button of a batch asks for; return the buttons for its new state."""
    producer: Producer = request.app.state.producer
    getattr(producer.batch(batch_id), action)()
    return render(request, "parts/controls.html", batch=queries.batch_status(producer.database, batch_id))


def _moving(request: Request, batch_id: str) -> dict[str, Any]:
    """Return what the part of a batch's page that moves needs."""
    shared: Shared = request.app.state.shared
    return shared.get(("progress", batch_id), lambda: _read_moving(request.app.state.producer.database, batch_id))


def _read_moving(database: Database, batch_id: str) -> dict[str, Any]:
    status = queries.batch_status(database, batch_id)
    is_finished = status["state"] in FINISHED
    return {
        "batch": status,
        "is_finished": is_finished,
        "why_queued": None if is_finished else queries.why_queued(database, batch_id),
        "failures": summary.failure_groups(database, batch_id) if status["counts"]["failed"] else [],
    }
