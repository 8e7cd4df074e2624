"""The HTTP API, version 1."""

from fastapi import APIRouter

from wavemill_producer.web.api import (
    batches,
    bulk,
    description,
    events,
    exports,
    inventory,
    jobs,
    ratings,
    sounds,
    submissions,
    tokens,
)

router = APIRouter()
for part in (submissions, batches, jobs, ratings, bulk, exports, events, sounds, inventory, tokens, description):
    router.include_router(part.router)
