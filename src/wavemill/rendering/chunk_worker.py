"""`ChunkWorker`: everything that a worker does with a message, except the rendering.

It claims jobs, renews their leases, checks for orders such as a pause, records outcomes, and waits
while the database or a storage is down.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from time import monotonic, sleep
from typing import TypeVar

from structlog.contextvars import bound_contextvars
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from wavemill.errors import DatabaseUnavailableError, OutageError, PermanentError, WavemillError
from wavemill.jobs.claims import Claim, ClaimedJob, claim_next, renew_leases
from wavemill.jobs.control import ordered_state
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Finished, Outcome, Work, place_outputs, record
from wavemill.jobs.states import State
from wavemill.rendering.avoided import AvoidedBatches
from wavemill.rendering.meter import Meter
from wavemill.rendering.refused import RefusedModels
from wavemill.rendering.threads import Threads
from wavemill.settings import Settings
from wavemill.storage.locations import batch_root, is_remote
from wavemill.storage.stores import open_store
from wavemill.text.secrets_in_urls import without_secrets

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_RETRY_DELAY_S = 300.0
_MAX_PAUSE_S = 5.0  # between two searches for work, while an outage leaves none
_LOOK_S = 0.2  # between two checks for orders; a check costs as much as rendering a clip
_LOOK_AGAIN_S = 60.0  # between two searches for a model that is missing here
_REMOTE_MOVES = 16  # at a time; they wait for the store and use next to no CPU
_GIVE_UP_BEFORE_KILL_S = 5.0


class ChunkWorker:
    """Claims jobs, one message at a time, and records their outcomes; subclasses do the `_work`.

    Parameters
    ----------
    worker_id : str
        Unique to this process. Leases are held under this name.
    stop : threading.Event
        When set, the rest of a chunk returns to the queue before the next sub-batch.
    """

    def __init__(self, database: Database, settings: Settings, *, worker_id: str, stop: threading.Event) -> None:
        self._database = database
        self._settings = settings
        self._worker_id = worker_id
        self._stop = stop
        self._claims: tuple[Claim, ...] = ()
        self._batch_ids: dict[int, str] = {}  # job ID -> batch ID, of the claimed jobs
        self._looked_at = 0.0
        self._avoided = AvoidedBatches()
        self._refused = RefusedModels(settings.models, look_again_s=min(settings.lease_s, _LOOK_AGAIN_S))
        self.meter = Meter()
        self._jitter = 1.0  # the same for a whole chunk, so that it is retried as a whole
        self.jobs_done = 0

    def render_chunk(self, batch_id: str, first: int, last: int) -> None:
        """Claim the chunk that is due next, and render it. An extra message finds nothing to do.

        The message is only a ticket: the chunk that it names need not be the one that is claimed.
        """
        try:
            self._claims = self._claim()
        except DatabaseUnavailableError:  # told to stop while waiting for the database
            return
        if not self._claims:
            logger.debug("message %s %d-%d: nothing to do", batch_id, first, last)
            return
        self._batch_ids = {job.id: claim.batch.id for claim in self._claims for job in claim.jobs}
        self._jitter = random.uniform(0.5, 1.5)
        claimed_at = monotonic()
        self.meter.claimed(self._claims)
        try:
            work = [(claim, self._outcomes(claim)) for claim in self._claims]
            if (recorded := self._finish(work)) is not None:
                self.meter.finished(recorded, monotonic() - claimed_at)
        finally:
            self._claims = ()

    def renew_leases(self) -> None:
        """Extend the leases of the claimed jobs; the heartbeat thread calls this."""
        self.meter.renewed(renew_leases(self._database, self._claims, lease_s=self._settings.lease_s))

    def close(self) -> None:
        """Release what this worker holds, such as threads."""

    def _work(self, claim: Claim) -> list[Outcome]:
        """Do all jobs of a claim, stage their outputs, and return the outcome of each."""
        raise NotImplementedError

    def _claim(self) -> tuple[Claim, ...]:
        claims = self._claim_once()
        if not claims and (pause_s := self._avoided.pause_s or self._refused.pause_s):
            # Wait before receiving the next message. It would find nothing either, and it is needed
            # later, when the outage is over, or by another worker, which has the model.
            self._stop.wait(min(pause_s, _MAX_PAUSE_S))
            claims = self._claim_once()
        return claims

    def _claim_once(self) -> tuple[Claim, ...]:
        claims = self._while_database_is_gone(
            lambda: claim_next(
                self._database,
                worker_id=self._worker_id,
                lease_s=self._settings.lease_s,
                avoided=self._avoided.ids(),
                refused=self._refused.digests(),
            )
        )
        self._looked_at = monotonic()  # claiming looks at the batch's state too
        return claims

    def _outcomes(self, claim: Claim) -> list[Outcome]:
        with _log_fields(claim), self._avoided.watching(claim.batch.id):
            return self._work(claim)

    def _ordered_state(self, claim: Claim) -> State | None:
        """Return the state for the rest of a claim, or None to continue with it."""
        if self._stop.is_set():
            return State.QUEUED
        if monotonic() - self._looked_at < _LOOK_S:
            return None
        self._looked_at = monotonic()
        try:
            return ordered_state(self._database, claim.batch.id)
        except DatabaseUnavailableError:
            return None  # continue: recording will wait for the database

    def _failure(self, job: ClaimedJob, exc: Exception, *, elsewhere_may_help: bool = False) -> Outcome:
        if not isinstance(exc, WavemillError):
            fields = {"job": job.id, "attempt": job.attempt}
            logger.error("job %d (%s) failed", job.id, job.spectrogram_id, exc_info=exc, extra=fields)
        code = getattr(exc, "code", "internal-error")
        message = without_secrets(str(exc)) or type(exc).__name__
        if isinstance(exc, OutageError):  # no job caused it, so none loses an attempt
            n_before = self._avoided.add(self._batch_ids[job.id], exc, pause_s=self._delay_s)
            delay_s = self._delay_s(n_before)
            return Outcome(job=job, state=State.QUEUED, error_code=code, error=message, delay_s=delay_s, blame=False)
        is_hopeless = isinstance(exc, PermanentError) and not elsewhere_may_help
        if is_hopeless or job.attempt >= job.max_attempts:
            return Outcome(job=job, state=State.FAILED, error_code=code, error=message)
        delay_s = self._delay_s(job.attempt - 1)
        return Outcome(job=job, state=State.QUEUED, error_code=code, error=message, delay_s=delay_s)

    def _delay_s(self, n_before: int) -> float:
        # The bound on the exponent only prevents an overflow: the longest delay is reached long before.
        return min(self._settings.retry_delay_s * 2.0 ** min(n_before, 16), _MAX_RETRY_DELAY_S) * self._jitter

    def _finish(self, work: Sequence[Work]) -> Sequence[Work] | None:
        """Place and record outcomes; return those that were still this worker's, or None if nothing was recorded."""
        moves = self._moves if any(is_remote(claim.batch.output) for claim, _ in work) else None
        try:
            placed = self._while_database_is_gone(
                lambda: place_outputs(self._database, work, on_place_error=self._failure, placing=moves), patient=True
            )
            finished = self._while_database_is_gone(lambda: record(self._database, placed), patient=True)
        except DatabaseUnavailableError:
            logger.warning("stopping while the table is unavailable: finished jobs are not recorded and will be redone")
            return None
        self.jobs_done += sum(outcome.state is not State.QUEUED for _, outcomes in placed for outcome in outcomes)
        self._tidy(work, finished)
        return placed

    def _tidy(self, work: Sequence[Work], finished: Finished) -> None:
        """Clear the staging of batches that are over; of pruned ones remove empty folders too."""
        for claim, _ in work:
            if claim.batch.id in finished.over:
                open_store(batch_root(claim.batch.output, claim.batch.id)).clear_staging()
            elif claim.batch.id in finished.gone:
                store = open_store(batch_root(claim.batch.output, claim.batch.id))
                store.clear_staging()
                store.remove_empty_folders()

    @cached_property
    def _moves(self) -> Threads:
        return Threads(_REMOTE_MOVES, thread_name_prefix="moves")

    def _while_database_is_gone(self, action: Callable[[], T], *, patient: bool = False) -> T:
        """Retry `action` until the table answers.

        Once told to stop, raise at once; a `patient` call continues until shortly before the worker
        is killed.
        """
        left_s = max(0.0, self._settings.stop_grace_s - _GIVE_UP_BEFORE_KILL_S) if patient else 0.0
        stopped_at: list[float] = []

        def gives_up(_: RetryCallState) -> bool:
            if self._stop.is_set() and not stopped_at:
                stopped_at.append(monotonic())
            return bool(stopped_at) and monotonic() - stopped_at[0] >= left_s

        def pause(seconds: float) -> None:
            if self._stop.is_set():
                sleep(min(seconds, 1.0))
            else:
                self._stop.wait(seconds)

        return Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_exponential_jitter(max=5),
            stop=gives_up,
            sleep=pause,
            before_sleep=_say_once,
            reraise=True,
        )(action)


def _log_fields(claim: Claim) -> AbstractContextManager[None]:
    """Put batch, chunk and attempt on each log line about a claim. The attempt is the highest of its jobs'."""
    first, last = claim.jobs[0].seq, claim.jobs[-1].seq
    attempt = max(job.attempt for job in claim.jobs)
    return bound_contextvars(batch=claim.batch.id, chunk=f"{first}-{last}", attempt=attempt)


def _say_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        logger.warning("%s; waiting for it", state.outcome.exception())
