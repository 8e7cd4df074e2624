"""What monitoring asks: `/health`, `/ready`, and `/metrics` for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response

from wavemill.errors import WavemillError
from wavemill.jobs.patience import answers_within
from wavemill.jobs.readiness import current
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.exposition import exposition

_ANSWER_S = 2.0  # a probe must not hang because the table does
router = APIRouter()


@router.get("/health", response_class=PlainTextResponse)
def health() -> str:
    """Answer as long as this process lives, whatever its servers do."""
    return "ok\n"


@router.get("/ready", response_class=PlainTextResponse)
def ready(request: Request) -> Response:
    """Answer 200 if the table answers, and 503 if not."""
    try:
        with answers_within(_ANSWER_S):
            current(request.app.state.producer.database)
    except WavemillError:
        return PlainTextResponse("the table does not answer\n", status_code=503)
    return PlainTextResponse("ok\n")


@router.get("/metrics", dependencies=[Depends(may(Role.READ))])
def metrics(request: Request) -> Response:
    """Return the figures of the table; `wavemill_table_up` is 0 while it does not answer."""
    try:
        with answers_within(_ANSWER_S):
            return exposition(request.app.state.figures.read(request.app.state.producer))
    except WavemillError:
        return exposition(None)
