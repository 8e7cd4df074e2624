"""Counts what a rendering process does, in a file that outlives it.

The supervisor gives each of its slots a file, which one child after another goes on with. So a child
that is killed loses no count, and the number of files does not grow with deaths.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence

from wavemill.jobs.claims import Claim
from wavemill.jobs.finishing import Outcome, Work
from wavemill.jobs.states import State
from wavemill.rendering.meter import Meter

SLOT_VARIABLE = "WAVEMILL_METRICS_SLOT"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own
STAGES = ("read", "forward", "invert", "write")
OUTCOMES = ("done", "failed", "cancelled", "retry", "returned")
_SIZES = (1, 2, 4, 8, 16, 24, 32)
_CHUNK_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_WAIT_S = (0.1, 1, 5, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)


def meter(device: str) -> Meter:
    """Return this process's meter; one that forgets unless the supervisor wants figures."""
    slot = os.environ.get(SLOT_VARIABLE)
    return CountingMeter(slot, device) if slot else Meter()


class CountingMeter(Meter):
    """Counts in the files of a slot. Each call costs microseconds, and there are few for each chunk."""

    def __init__(self, slot: str, device: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, values

        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()  # for this process alone; the supervisor reads the files

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"wavemill_worker_{name}", text, ["device", *labels], registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"wavemill_worker_{name}", text, ["device", *labels], buckets=buckets, registry=registry)

        jobs = counter("jobs_total", "Jobs by outcome; `retry` waits for its next attempt.", "outcome")
        self._jobs = {outcome: jobs.labels(device, outcome) for outcome in OUTCOMES}
        self._claims = counter("claims_total", "Claims of chunks.").labels(device)
        self._renewals = counter("lease_renewals_total", "Leases of running jobs that were extended.").labels(device)
        stages = histogram("stage_seconds", "Time of a chunk's jobs in each stage, added up.", _CHUNK_S, "stage")
        self._stages = {stage: stages.labels(device, stage) for stage in STAGES}
        self._chunks = histogram("chunk_seconds", "From a claim to its record.", _CHUNK_S).labels(device)
        self._sizes = histogram("sub_batch_jobs", "Jobs of each sub-batch.", _SIZES).labels(device)
        self._waits = histogram("queue_wait_seconds", "From submission to a chunk's first claim.", _WAIT_S).labels(
            device
        )

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Count claims, and how long chunks waited that nobody has claimed before."""
        now = dt.datetime.now(dt.UTC)
        for claim in claims:
            self._claims.inc()
            if all(job.fence == 1 for job in claim.jobs):
                self._waits.observe(max(0.0, (now - claim.batch.created_at).total_seconds()))

    def renewed(self, n_jobs: int) -> None:
        """Count renewals."""
        self._renewals.inc(n_jobs)

    def sub_batch(self, n_jobs: int) -> None:
        """Note a size."""
        self._sizes.observe(n_jobs)

    def finished(self, work: Sequence[Work], seconds: float) -> None:
        """Count outcomes, and add up the times of their stages."""
        outcomes = [outcome for _, some in work for outcome in some]
        for outcome in outcomes:
            self._jobs[_name(outcome)].inc()
        timings = [found for outcome in outcomes if (found := outcome.columns.get("timings"))]
        if timings:
            for stage, seen in self._stages.items():
                seen.observe(sum(found.get(f"{stage}_ms", 0.0) for found in timings) / 1e3)
        self._chunks.observe(seconds)


def _name(outcome: Outcome) -> str:
    if outcome.state is not State.QUEUED:
        return outcome.state.value
    return "retry" if outcome.counts_as_attempt else "returned"
