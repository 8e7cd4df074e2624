"""One chunk, end to end: claim, read, generate, write, measure, record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from time import perf_counter

from tenacity import (
    AttemptManager,
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_never,
    wait_exponential_jitter,
)

from wavemill.errors import DatabaseUnavailableError, PermanentError, WavemillError
from wavemill.jobs.claims import Claim, ClaimedJob, Outcome, claim_chunk, finish_jobs, renew_leases
from wavemill.jobs.control import is_stopped
from wavemill.jobs.database import Database
from wavemill.jobs.queries import batch_is_final
from wavemill.jobs.states import State
from wavemill.pipeline import Pipeline
from wavemill.runtime import Runtime
from wavemill.settings import Settings

logger = logging.getLogger(__name__)

_MAX_RETRY_DELAY_S = 300.0


class Renderer:
    """Renders chunks, one at a time, for one worker process.

    Parameters
    ----------
    worker_id : str
        Unique to this process and its life: leases are held in this name.
    n_threads : int > 0
        Sub-batches at the same time, each on one core.
    stop : threading.Event
        Set it, and what is left of the chunk is given back before the next sub-batch.
    """

    def __init__(
        self, database: Database, settings: Settings, *, worker_id: str, n_threads: int, stop: threading.Event
    ) -> None:
        self._database = database
        self._settings = settings
        self._worker_id = worker_id
        self._stop = stop
        self._runtime = Runtime(settings.models, mixed_precision=settings.mixed_precision)
        self._pipeline = Pipeline(n_threads, ordered_to_stop=self._ordered_to_stop, failure=self._failure)
        self._claim: Claim | None = None
        self.jobs_done = 0

    def render_chunk(self, batch_id: str, first: int, last: int) -> None:
        """Claim and render what is still queued of a chunk; a message that comes twice finds nothing to do."""
        for trial in self._while_database_is_gone():
            with trial:
                self._claim = claim_chunk(
                    self._database,
                    batch_id,
                    first,
                    last,
                    worker_id=self._worker_id,
                    lease_s=self._settings.lease_s,
                )
        if self._claim is None:
            logger.info("chunk %s %d-%d: nothing to do", batch_id, first, last)
            return
        try:
            self._render(self._claim)
        finally:
            self._claim = None

    def renew_leases(self) -> None:
        """Prolong the leases of the chunk in hand; called by the heartbeat's thread."""
        if claim := self._claim:
            renew_leases(self._database, claim, lease_s=self._settings.lease_s)

    def close(self) -> None:
        """End the threads."""
        self._pipeline.close()

    def _render(self, claim: Claim) -> None:
        started = perf_counter()
        try:
            tools = self._runtime.tools(claim.batch)
            outcomes = self._pipeline.outcomes(claim, tools)
        except Exception as exc:  # whatever it is: said in the table at once, not "worker-lost" when the lease ends
            logger.error("batch %s cannot be rendered: %s", claim.batch.id, exc)  # noqa: TRY400  said in the table
            self._finish(claim, [self._failure(job, exc) for job in claim.jobs])
            return
        finished = self._finish(claim, outcomes)
        self.jobs_done += finished
        if batch_is_final(self._database, claim.batch.id):
            tools.store.clear_staging()
        elapsed_s = perf_counter() - started
        logger.info("batch %s: %d jobs in %.2f s", claim.batch.id, finished, elapsed_s)

    def _ordered_to_stop(self, claim: Claim) -> State | None:
        if self._stop.is_set():
            return State.QUEUED
        try:
            return is_stopped(self._database, claim.batch.id)
        except DatabaseUnavailableError:
            return None  # work on; the finish waits for the database

    def _failure(self, job: ClaimedJob, exc: Exception) -> Outcome:
        if not isinstance(exc, WavemillError):
            logger.error("job %d (%s) failed", job.id, job.spectrogram_id, exc_info=exc)
        code = getattr(exc, "code", "internal-error")
        message = str(exc) or type(exc).__name__
        if isinstance(exc, PermanentError) or job.attempt >= job.max_attempts:
            return Outcome(job=job, state=State.FAILED, error_code=code, error=message)
        delay_s = min(self._settings.retry_delay_s * 2 ** (job.attempt - 1), _MAX_RETRY_DELAY_S)
        return Outcome(job=job, state=State.QUEUED, error_code=code, error=message, delay_s=delay_s)

    def _finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> int:
        finished = 0
        for trial in self._while_database_is_gone():
            with trial:
                finished = finish_jobs(self._database, claim, outcomes, on_place_error=self._failure)
        return finished

    def _while_database_is_gone(self) -> Iterator[AttemptManager]:
        yield from Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_exponential_jitter(max=15),
            stop=stop_never,
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
