"""A batch that was submitted, wherever and whenever: its status, its jobs, and how to steer it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Row

from wavemill.jobs import control, queries
from wavemill.jobs.database import Database
from wavemill.jobs.states import BatchState, State

FINISHED = frozenset({BatchState.DONE, BatchState.FAILED, BatchState.CANCELLED})


class Batch:
    """A batch in the table; `id` is all that it takes to find it again. Made by `Producer`."""

    def __init__(
        self, database: Database, batch_id: str, *, announce: Callable[[str], None], extra_attempts: int
    ) -> None:
        self._database = database
        self._announce = announce
        self._extra_attempts = extra_attempts
        self.id = batch_id

    def status(self) -> dict[str, Any]:
        """Return what `wavemill status BATCH --json` prints."""
        return queries.batch_status(self._database, self.id)

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
        progress: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> BatchState:
        """Wait until every job is final; TimeoutError after `timeout_s`. `progress` sees each status."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            progress(status)
            if status["state"] in FINISHED:
                return BatchState(status["state"])
            if deadline is not None and time.monotonic() >= deadline:
                counts = ", ".join(f"{count} {state}" for state, count in status["counts"].items() if count)
                raise TimeoutError(f"batch {self.id} is {status['state']} after {timeout_s} s: {counts}")
            time.sleep(poll_s)  # the table tells nobody when it changes

    def jobs(
        self,
        *,
        state: State | str | None = None,
        flag: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Row[Any]]:
        """Yield the batch's jobs, a page at a time from the table; columns are attributes."""
        chosen = None if state is None else State(state)
        return queries.list_jobs(self._database, batch_id=self.id, state=chosen, flag=flag, after=after, limit=limit)

    def cancel(self) -> int:
        """Cancel what is not done; return how many jobs were still queued."""
        return control.cancel_batch(self._database, self.id)

    def pause(self) -> None:
        """Start no more of its jobs."""
        control.pause_batch(self._database, self.id)

    def resume(self) -> None:
        """Go on after a pause."""
        control.resume_batch(self._database, self.id)
        self._announce(self.id)

    def retry(self, *, only_failed: bool = False) -> int:
        """Queue failed jobs again, and cancelled ones unless `only_failed`; return how many."""
        states = [State.FAILED] if only_failed else [State.FAILED, State.CANCELLED]
        count = control.retry_batch(self._database, self.id, states=states, extra_attempts=self._extra_attempts)
        self._announce(self.id)
        return count
