"""The HTTP API, version 1."""

from fastapi import APIRouter

from wavemill_producer.web.api import (
    actions,
    batches,
    description,
    events,
    exports,
    inventory,
    jobs,
    sounds,
    submissions,
    tokens,
)

router = APIRouter()
for part in (submissions, batches, jobs, actions, exports, events, sounds, inventory, tokens, description):
    router.include_router(part.router)
