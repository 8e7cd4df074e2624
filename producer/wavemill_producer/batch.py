"""A submitted batch: its status and jobs, and how to wait for, control or retry it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Row

from wavemill.errors import DatabaseUnavailableError, WavemillError
from wavemill.jobs import bulk, control, queries
from wavemill.jobs.database import Database
from wavemill.jobs.deliveries import deliveries_of
from wavemill.jobs.filters import conditions_of
from wavemill.jobs.patience import answers_within
from wavemill.jobs.rating_figures import rating_figures
from wavemill.jobs.states import BatchState, State
from wavemill.text.shown import shown
from wavemill_producer.job import Job
from wavemill_producer.notebook import batch_html, counts, text
from wavemill_producer.pages import pages_of_jobs, pages_of_matching_jobs
from wavemill_producer.progress import shown_progress
from wavemill_producer.waiting import PATIENCE_S, repeat

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_REPR_S = 1.0  # a debugger or a notebook must not hang because the table is away
_PLAYERS = 3  # in a notebook
MOST_RATED = 20_000
FINISHED = frozenset({BatchState.DONE, BatchState.FAILED, BatchState.CANCELLED})


class Batch:
    """A batch in the table, made by `Producer`. Its `id` is enough to find it again."""

    def __init__(
        self,
        database: Database,
        batch_id: str,
        *,
        announce: Callable[[str], None],
        extra_attempts: int,
        patience_s: float | None = PATIENCE_S,
    ) -> None:
        self._database = database
        self._announce = announce
        self._extra_attempts = extra_attempts
        self._patience_s = patience_s
        self.id = batch_id

    def __repr__(self) -> str:
        try:
            status = self._status_soon()
        except Exception as exc:  # a repr must not raise
            return shown(f"<Batch {self.id}: its state is unknown, {exc}>")
        name = f" {status['name']!r}" if status["name"] else ""
        said = f"{status['operation']} {status['state']}, {counts(status)} of {status['total']}"
        return shown(f"<Batch {self.id}{name}: {said}>")

    def _repr_html_(self) -> str:
        """Show the batch in a notebook: its progress, and players of its first sounds."""
        try:
            with answers_within(_REPR_S):
                return batch_html(self._status_soon(), list(self.jobs(state=State.DONE, limit=_PLAYERS)))
        except DatabaseUnavailableError:
            return f"<p>{text(self)}</p>"

    def _status_soon(self) -> dict[str, Any]:
        with answers_within(_REPR_S):
            return queries.batch_status(self._database, self.id)

    def status(self) -> dict[str, Any]:
        """Return what `wavemill status BATCH --json` prints."""
        return self._repeat(lambda: queries.batch_status(self._database, self.id))

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the calls to the batch's webhook, oldest first: one each time that the batch ends."""
        return self._repeat(lambda: deliveries_of(self._database, self.id))

    def _repeat(self, action: Callable[[], T]) -> T:
        return repeat(action, for_s=self._patience_s)

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
        progress: bool | Callable[[dict[str, Any]], None] = False,
    ) -> BatchState:
        """Wait until every job is final; raise TimeoutError after `timeout_s`.

        `progress` is called with each status; True shows a bar, in a terminal or a notebook. If the
        table does not answer, log that once and wait.
        """
        if progress is True:
            with shown_progress() as bar:
                return self.wait(timeout_s=timeout_s, poll_s=poll_s, progress=bar)
        tell = progress or (lambda _: None)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                status = repeat(lambda: queries.batch_status(self._database, self.id), for_s=None, by=deadline)
            except DatabaseUnavailableError as exc:
                raise TimeoutError(f"the state of batch {self.id} is unknown after {timeout_s} s: {exc}") from exc
            tell(status)
            if status["state"] in FINISHED:
                return BatchState(status["state"])
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"batch {self.id} is {status['state']} after {timeout_s} s: {counts(status)}")
            left = poll_s if deadline is None else deadline - time.monotonic()
            time.sleep(max(0.0, min(poll_s, left)))  # the table does not notify anybody of changes

    def why_queued(self) -> str | None:
        """Return why a job is queued again, such as a storage that does not answer; None if none is."""
        return queries.why_queued(self._database, self.id)

    def jobs(
        self,
        *,
        state: State | str | None = None,
        flag: str | None = None,
        where: Sequence[str] = (),
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Yield the batch's jobs, a page at a time from the table; with `where`, those that meet all conditions."""
        if where:
            conditions = conditions_of(where, state=state, flag=flag)
            rows = pages_of_matching_jobs(
                self._database, self._patience_s, batch_id=self.id, conditions=conditions, after=after, limit=limit
            )
            return (Job(dict(row)) for row in rows)
        return (Job(row._asdict()) for row in self.rows(state=state, flag=flag, after=after, limit=limit))

    def rows(
        self,
        *,
        state: State | str | None = None,
        flag: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Row[Any]]:
        """Yield the same jobs as rows of the table."""
        chosen = None if state is None else State(state)
        return pages_of_jobs(
            self._database, self._patience_s, batch_id=self.id, state=chosen, flag=flag, after=after, limit=limit
        )

    def to_pandas(self, *, state: State | str | None = None, flag: str | None = None) -> pd.DataFrame:
        """Return the jobs as a table: a row each, with the labels of their recordings as `label_...`.

        The values of the JSON columns have columns of their own, such as `quality_peak`.
        """
        from wavemill_producer.frames import frame_of

        return frame_of(self.rows(state=state, flag=flag), self.status())

    def rating_figures(self, *, where: Sequence[str] = (), limit: int = MOST_RATED) -> dict[str, Any]:
        """Return the mean rating, quality by rating, and how both correlate, of up to `limit` rated jobs.

        See `wavemill.jobs.rating_figures`. With `where`, only jobs that meet all conditions count.
        """
        rated = self.jobs(where=["rating>=1", *where], limit=limit)
        return rating_figures((job.rating, job.quality) for job in rated)

    def cancel(self) -> int:
        """Cancel the unfinished jobs; return how many were still queued.

        After an outage of the table during the call, the number may be too small.
        """
        return self._repeat(lambda: control.cancel_batch(self._database, self.id))

    def pause(self) -> None:
        """Pause the batch: workers start no more of its jobs."""
        self._repeat(lambda: control.pause_batch(self._database, self.id))

    def resume(self) -> None:
        """Resume the batch after a pause."""
        self._repeat(lambda: control.resume_batch(self._database, self.id))
        self._announce(self.id)

    def retry(self, *, only_failed: bool = False, where: Sequence[str] = ()) -> int:
        """Queue failed jobs again, and cancelled ones unless `only_failed`; return how many.

        `where` are conditions that all must hold, such as `error_code=storage-error`.

        If the table does not answer, raises at once instead of retrying: a job could have failed
        again meanwhile, and would be queued twice. Jobs that were queued before the error stay
        queued.
        """
        states = [State.FAILED] if only_failed else [State.FAILED, State.CANCELLED]
        try:
            if where:
                return self._retry_matching([f"state={State.FAILED}", *where] if only_failed else where)
            count = control.retry_batch(self._database, self.id, states=states, extra_attempts=self._extra_attempts)
        except DatabaseUnavailableError as exc:
            raise DatabaseUnavailableError(f"{exc}; some jobs may be queued again already; repeat the retry") from exc
        self._announce(self.id)
        return count

    def _retry_matching(self, where: Sequence[str]) -> int:
        params = {"extra_attempts": self._extra_attempts}
        action_id = bulk.start(
            self._database, bulk.Action.RETRY, batch_id=self.id, where=where, params=params, is_mine=True
        )
        status = bulk.run(self._database, action_id, bulk.Surroundings(announce=self._announce))
        if status["state"] != bulk.DONE:
            raise WavemillError(status["error"])
        return int(status["changed"])
