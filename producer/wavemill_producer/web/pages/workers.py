"""The workers: rates, devices and health."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from wavemill.jobs import queries
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.pages.rendering import is_fragment, render
from wavemill_producer.web.pages.route import PageRoute
from wavemill_producer.web.shared import Shared

router = APIRouter(route_class=PageRoute, dependencies=[Depends(may(Role.READ))])

_SEEN_WITHIN_S = 3_600.0


@router.get("/workers", response_class=HTMLResponse)
def workers(request: Request) -> HTMLResponse:
    """Show the workers, also those that fell silent within the hour."""
    shared: Shared = request.app.state.shared
    values = shared.get("workers", lambda: _read(request.app.state.producer))
    return render(request, "parts/workers.html" if is_fragment(request) else "workers.html", **values)


def _read(producer: Producer) -> dict[str, Any]:
    return {
        "workers": queries.list_workers(producer.database, alive_within_s=_SEEN_WITHIN_S),
        "alive": {row["id"] for row in producer.workers()},
        "supervisor_count": producer.supervisor_count(),
        "troubles": producer.troubles(),
        "refused": producer.refused_models(),
    }
