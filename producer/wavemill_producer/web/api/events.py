"""Server-sent events: what changes in the table, as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from wavemill.errors import DatabaseUnavailableError
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import as_json
from wavemill_producer.web.api.arguments import BatchId
from wavemill_producer.web.feed import Feed

router = APIRouter(dependencies=[Depends(may(Role.READ))], tags=["events"])
_RETRY_MS = 2_000  # a browser connects again after this long
_PING_S = 15
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
# A stream that ends at once shows what it would begin with; for scripts and tests.
Once = Annotated[bool, Query(description="End after the first event.")]


@router.get("/events", name="events", response_class=EventSourceResponse, responses=_STREAM)
async def events(request: Request, once: Once = False) -> EventSourceResponse:
    """Stream the changes of all batches and workers, see `wavemill_producer.web.feed`."""
    return _response(request, None, once=once)


@router.get("/batches/{batch_id}/events", name="batch_events", response_class=EventSourceResponse, responses=_STREAM)
async def batch_events(request: Request, batch_id: BatchId, once: Once = False) -> EventSourceResponse:
    """Stream the changes of one batch."""
    with suppress(DatabaseUnavailableError):  # the stream says that the table is away, and goes on when it is back
        batch_id = (await to_thread.run_sync(request.app.state.producer.batch, batch_id)).id
    return _response(request, batch_id, once=once)


def _response(request: Request, batch_id: str | None, *, once: bool) -> EventSourceResponse:
    feed: Feed = request.app.state.feed
    feed.require_room()

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for event in feed.listen(batch_id, token_sha256=request.state.caller.token_sha256):
            yield ServerSentEvent(as_json(event.data), event=event.kind, retry=_RETRY_MS)
            if once:
                return

    return EventSourceResponse(stream(), ping=_PING_S, sep="\n", headers={"x-accel-buffering": "no"})
