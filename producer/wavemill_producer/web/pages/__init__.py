"""The page for people: HTML made on the server, with HTMX for what moves."""

from fastapi import APIRouter

from wavemill_producer.web.pages.batches import router as batches
from wavemill_producer.web.pages.bulk import router as bulk
from wavemill_producer.web.pages.jobs import router as jobs
from wavemill_producer.web.pages.listening import router as listening
from wavemill_producer.web.pages.workers import router as workers

router = APIRouter(include_in_schema=False)
for part in (batches, jobs, bulk, listening, workers):
    router.include_router(part)
