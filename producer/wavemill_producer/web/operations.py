"""What monitoring asks: `/health`, `/ready`, and `/metrics` for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from wavemill.errors import WavemillError
from wavemill.jobs.figures import Figures, figures
from wavemill.jobs.patience import answers_within
from wavemill.jobs.readiness import current
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import Role, may

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
    registry = CollectorRegistry()
    up = Gauge("wavemill_table_up", "1 if the table answers.", registry=registry)
    try:
        _fill(registry, _figures(request))
    except WavemillError:
        up.set(0)
    else:
        up.set(1)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _figures(request: Request) -> Figures:
    producer: Producer = request.app.state.producer
    with answers_within(_ANSWER_S):
        return figures(producer.database, alive_within_s=producer.settings.lease_s)


def _fill(registry: CollectorRegistry, found: Figures) -> None:
    jobs = Gauge("wavemill_jobs", "Jobs in each state.", ["state"], registry=registry)
    for state, count in found.jobs.items():
        jobs.labels(state).set(count)
    for name, text, value in (
        ("wavemill_open_batches", "Batches that have jobs left.", found.open_batches),
        ("wavemill_oldest_queued_seconds", "Age of the oldest batch with queued jobs.", found.oldest_queued_s),
        ("wavemill_supervisors", "Living supervisors.", found.supervisors),
        ("wavemill_troubles", "Living supervisors and workers that report a problem.", found.troubles),
    ):
        Gauge(name, text, registry=registry).set(value)
    done = Gauge("wavemill_worker_jobs_done", "Jobs done since start.", ["worker", "device"], registry=registry)
    rate = Gauge("wavemill_worker_jobs_per_second", "Rate since start.", ["worker", "device"], registry=registry)
    for worker, device, n_jobs, per_second in found.workers:
        done.labels(worker, device).set(n_jobs)
        rate.labels(worker, device).set(per_second)
