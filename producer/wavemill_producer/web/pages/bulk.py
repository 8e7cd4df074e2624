"""Actions on all jobs that match a filter: their choice, with the count first, and their progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response

from wavemill.jobs import queries
from wavemill.jobs.bulk import Action, bulk_status
from wavemill.jobs.filters import parse
from wavemill.jobs.matching import count_matching
from wavemill.jobs.states import FINAL, State
from wavemill.operations.requests import METHODS
from wavemill_producer.bulk import EXPORT_FORMATS
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.api.actions import ActionId, BatchName, begin
from wavemill_producer.web.api.arguments import Where
from wavemill_producer.web.pages.rendering import Links, render
from wavemill_producer.web.pages.route import PageRoute

router = APIRouter(route_class=PageRoute)
_MAY_READ, _MAY_SUBMIT = [Depends(may(Role.READ))], [Depends(may(Role.SUBMIT))]
_LABEL_S = 0.3  # for the count beside a list of jobs
# Action -> the states of jobs that it changes; None: of all.
_CHANGES: Mapping[Action, frozenset[State] | None] = {
    Action.RETRY: frozenset({State.FAILED, State.CANCELLED}),
    Action.CANCEL: frozenset({State.QUEUED}),
    Action.RATE: None,
    Action.EXPORT: None,
    Action.RENDER: None,
    Action.DELETE: FINAL,
}
_Text = Annotated[str, Form(max_length=1_000)]


@router.get("/bulk", response_class=HTMLResponse, dependencies=_MAY_SUBMIT)
def choose(request: Request, batch: BatchName = None, where: Where = []) -> HTMLResponse:  # noqa: B006  FastAPI copies it
    """Show how many jobs match, and what can be done to them."""
    producer: Producer = request.app.state.producer
    found = None if batch is None else producer.batch(batch).status()
    count, is_exact = count_matching(
        producer.database, batch_id=None if found is None else found["id"], conditions=parse(where)
    )
    return render(
        request,
        "bulk.html",
        batch=found,
        where=where,
        count=count,
        is_exact=is_exact,
        actions=_offered(request, where, has_batch=found is not None),
        methods=METHODS,
        formats=EXPORT_FORMATS if found is not None else [one for one in EXPORT_FORMATS if one != "zip"],
    )


def _offered(request: Request, where: list[str], *, has_batch: bool) -> list[str]:
    """Return the actions that this caller may begin, and that would change jobs of these states."""
    states = [State(one.value) for one in parse(where) if one.field == "state" and one.operator == "="]
    offered = [
        action.value for action, changed in _CHANGES.items() if changed is None or all(one in changed for one in states)
    ]
    if not has_batch:
        offered.remove(Action.RENDER)
    if not request.state.caller.role.covers(Role.ADMIN) and Action.DELETE in offered:
        offered.remove(Action.DELETE)
    return offered


@router.get("/bulk/count", response_class=HTMLResponse, dependencies=_MAY_SUBMIT)
def count(request: Request, batch: BatchName = None, where: Where = []) -> HTMLResponse:  # noqa: B006  FastAPI copies it
    """Return the words on the link to the actions."""
    producer: Producer = request.app.state.producer
    found, is_exact = count_matching(producer.database, batch_id=batch, conditions=parse(where), within_s=_LABEL_S)
    return render(request, "parts/bulk_count.html", count=found, is_exact=is_exact)


@router.post("/bulk/{action}", dependencies=_MAY_SUBMIT)
def start(
    request: Request,
    action: Action,
    batch: BatchName = None,
    where: Where = [],  # noqa: B006  FastAPI copies it
    rating: Annotated[int | None, Form()] = None,
    format: _Text = "",  # noqa: A002
    model: _Text = "",
    method: _Text = "",
    temperature: Annotated[float | None, Form()] = None,
    output: _Text = "",
    name: _Text = "",
) -> Response:
    """Begin an action and send the browser to its page."""
    params: dict[str, Any] = {}
    if action is Action.RATE:
        params = {"rating": rating or None}
    if action is Action.EXPORT:
        params = {"format": format}
    if action is Action.RENDER:
        given = {"model": model, "method": method, "output": output, "name": name}
        params = {key: value.strip() or None for key, value in given.items()}
        params["temperature"] = temperature
    begun = begin(request, action, batch=batch, where=where, params=params)
    to = Links(request).page(f"/actions/{begun['id']}")
    return Response(status_code=204, headers={"HX-Redirect": to})


@router.get("/actions/{action_id}", response_class=HTMLResponse, dependencies=_MAY_READ)
def action(request: Request, action_id: ActionId) -> HTMLResponse:
    """Show an action: how far it is, and its result."""
    return render(request, "action.html", **_shown(request, action_id))


@router.get("/actions/{action_id}/progress", response_class=HTMLResponse, dependencies=_MAY_READ)
def progress(request: Request, action_id: ActionId) -> HTMLResponse:
    """Return the part of an action's page that moves."""
    return render(request, "parts/bulk_progress.html", **_shown(request, action_id))


def _shown(request: Request, action_id: int) -> dict[str, Any]:
    database = request.app.state.producer.database
    found = bulk_status(database, action_id)
    batch = None if found["batch_id"] is None else queries.batch_status(database, found["batch_id"])
    return {"action": found, "batch": batch}
