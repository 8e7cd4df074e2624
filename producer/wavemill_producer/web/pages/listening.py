"""The listening grid: many sounds, one after the other, with keys to play, compare and rate."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.api.arguments import Sort, Where
from wavemill_producer.web.pages.rendering import render
from wavemill_producer.web.pages.route import PageRoute

router = APIRouter(route_class=PageRoute, dependencies=[Depends(may(Role.READ))])


@router.get("/batches/{batch_id}/listen", response_class=HTMLResponse)
def listen(
    request: Request,
    batch_id: str,
    where: Where = [],  # noqa: B006  FastAPI copies it
    sort: Sort = None,
) -> HTMLResponse:
    """Show the grid of a batch's done jobs; its script reads them from the API, a page at a time."""
    producer: Producer = request.app.state.producer
    batch = producer.batch(batch_id).status()
    conditions = [one for one in where if not one.startswith("state")]
    return render(request, "listen.html", batch=batch, where=[*conditions, "state=done"], sort=sort)
