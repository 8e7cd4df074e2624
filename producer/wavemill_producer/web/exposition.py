"""The table's figures in the form of Prometheus."""

from __future__ import annotations

import threading
from time import monotonic

from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from wavemill.jobs.figures import Figures, figures
from wavemill.jobs.readiness import current
from wavemill_producer.producer import Producer

_FRESH_S = 5.0
_SHARE = 20  # reading takes at most one part in so many of the time, even with millions of batches


class RecentFigures:
    """The figures, read by one request at a time and used again for some seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Figures | None = None
        self._fresh_until = 0.0

    def read(self, producer: Producer) -> Figures:
        """Return figures of the last seconds; DatabaseUnavailableError if the table does not answer now."""
        current(producer.database)
        with self._lock:
            started = monotonic()
            if self._found is None or started >= self._fresh_until:
                self._found = figures(producer.database, alive_within_s=producer.settings.lease_s)
                self._fresh_until = monotonic() + max(_FRESH_S, _SHARE * (monotonic() - started))
            return self._found


def exposition(found: Figures | None) -> Response:
    """Return the answer to Prometheus; `wavemill_table_up` is 0, and stands alone, without figures."""
    registry = CollectorRegistry()
    Gauge("wavemill_table_up", "1 if the table answers.", registry=registry).set(found is not None)
    if found is not None:
        _fill(registry, found)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


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
