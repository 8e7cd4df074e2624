"""What a worker does with a chunk, whatever the work: claim, keep, look for orders, record, wait out an outage."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator, Sequence
from time import monotonic

from tenacity import (
    AttemptManager,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_never,
    wait_exponential_jitter,
)

from wavemill.errors import DatabaseUnavailableError, OutageError, PermanentError, WavemillError
from wavemill.jobs.claims import Claim, ClaimedJob, Outcome, claim_chunk, finish_jobs, renew_leases
from wavemill.jobs.control import is_stopped
from wavemill.jobs.database import Database
from wavemill.jobs.queries import batch_is_final
from wavemill.jobs.states import State
from wavemill.secrets_in_urls import without_secrets
from wavemill.settings import Settings

logger = logging.getLogger(__name__)

_MAX_RETRY_DELAY_S = 300.0
_MAX_PAUSE_S = 30.0
_LOOK_S = 0.2  # between two looks for orders: each costs as much as rendering a clip


class ChunkWorker:
    """Works on chunks, one at a time; a subclass says in `_work` what is to be done with one.

    Parameters
    ----------
    worker_id : str
        Unique to this process and its life: leases are held in this name.
    stop : threading.Event
        Set it, and what is left of the chunk is given back before the next sub-batch.
    """

    def __init__(self, database: Database, settings: Settings, *, worker_id: str, stop: threading.Event) -> None:
        self._database = database
        self._settings = settings
        self._worker_id = worker_id
        self._stop = stop
        self._claim: Claim | None = None
        self._looked_at = 0.0
        self._outage: OutageError | None = None  # of the chunk in hand
        self._outages = 0  # chunks in a row that met one
        self._jitter = 1.0  # one for all of a chunk, which so stays whole when it goes back
        self.jobs_done = 0

    def render_chunk(self, batch_id: str, first: int, last: int) -> None:
        """Claim and do what is still queued of a chunk; a message that comes twice finds nothing to do."""
        self._pause()
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
        self._looked_at = monotonic()  # the claim did
        if self._claim is None:
            logger.info("chunk %s %d-%d: nothing to do", batch_id, first, last)
            return
        self._outage, self._jitter = None, random.uniform(0.5, 1.5)
        try:
            self._work(self._claim)
        finally:
            self._claim = None
        self._note_outage()

    def renew_leases(self) -> None:
        """Prolong the leases of the chunk in hand; called by the heartbeat's thread."""
        if claim := self._claim:
            renew_leases(self._database, claim, lease_s=self._settings.lease_s)

    def close(self) -> None:
        """Let go of what this worker holds in its process."""

    def _work(self, claim: Claim) -> None:
        """Do all of a claim's jobs and `_finish` them."""
        raise NotImplementedError

    def _ordered_to_stop(self, claim: Claim) -> State | None:
        if self._stop.is_set():
            return State.QUEUED
        if monotonic() - self._looked_at < _LOOK_S:
            return None
        self._looked_at = monotonic()
        try:
            return is_stopped(self._database, claim.batch.id)
        except DatabaseUnavailableError:
            return None  # work on; the finish waits for the database

    def _failure(self, job: ClaimedJob, exc: Exception, *, elsewhere_may_help: bool = False) -> Outcome:
        if not isinstance(exc, WavemillError):
            logger.error("job %d (%s) failed", job.id, job.spectrogram_id, exc_info=exc)
        code = getattr(exc, "code", "internal-error")
        message = without_secrets(str(exc)) or type(exc).__name__
        if isinstance(exc, OutageError):  # no job is to blame, so none pays with an attempt
            self._outage = exc
            delay_s = self._delay_s(self._outages)
            return Outcome(job=job, state=State.QUEUED, error_code=code, error=message, delay_s=delay_s, blame=False)
        is_hopeless = isinstance(exc, PermanentError) and not elsewhere_may_help
        if is_hopeless or job.attempt >= job.max_attempts:
            return Outcome(job=job, state=State.FAILED, error_code=code, error=message)
        delay_s = self._delay_s(job.attempt - 1)
        return Outcome(job=job, state=State.QUEUED, error_code=code, error=message, delay_s=delay_s)

    def _delay_s(self, n_before: int) -> float:
        # Exponents beyond 16 only overflow: the longest delay is reached long before.
        return min(self._settings.retry_delay_s * 2.0 ** min(n_before, 16), _MAX_RETRY_DELAY_S) * self._jitter

    def _note_outage(self) -> None:
        if self._outage is not None:
            if not self._outages:
                logger.warning("%s; waiting, and trying again now and then", self._outage)
            self._outages += 1
        elif self._outages:
            logger.warning("outputs can be written again")
            self._outages = 0

    def _pause(self) -> None:
        """After an outage take the next chunk later: it would be worked on for nothing."""
        if self._outages:
            self._stop.wait(min(self._delay_s(self._outages - 1), _MAX_PAUSE_S))

    def _finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> int:
        finished = 0
        for trial in self._while_database_is_gone():
            with trial:
                finished = finish_jobs(self._database, claim, outcomes, on_place_error=self._failure)
        return finished

    def _is_over(self, claim: Claim) -> bool:
        """Whether a claim's batch has no job left to do."""
        over = False
        for trial in self._while_database_is_gone():
            with trial:
                over = batch_is_final(self._database, claim.batch.id)
        return over

    def _while_database_is_gone(self) -> Iterator[AttemptManager]:
        yield from Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_exponential_jitter(max=15),
            stop=stop_never,
            before_sleep=_say_once,
            reraise=True,
        )


def _say_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        logger.warning("%s; waiting for it", state.outcome.exception())
