"""The reaper: takes jobs back from dead workers, and sends lost messages again.

It also removes files that dead workers left. It reads and writes the table, the broker and stores.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row

from wavemill.errors import StorageUnavailableError
from wavemill.jobs.control import fail_stopped, settle_cancelled
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import Send, publish_due, recall_lost, restore_missing_chunks
from wavemill.jobs.pulse import is_my_turn
from wavemill.jobs.recovery import Begun, reclaim_dead, reclaim_expired
from wavemill.operations.requests import output_paths, params_from_row
from wavemill.settings import Settings
from wavemill.storage.locations import batch_root
from wavemill.storage.stores import open_store
from wavemill.transport import message_count, sender
from wavemill_worker.background import Background

logger = logging.getLogger(__name__)

# Time per sweep for writing to rows what their batch already says (failed, cancelled). What takes
# longer waits for the next sweep, since living workers' jobs are more urgent.
_ROWS_S = 1.0


class Reaper:
    """Sweeps every `sweep_s`, and at once when it is told that a process died.

    Any number of reapers may share a table; in each period only one of them sweeps. `duty` keeps
    going after errors and reports them.

    Parameters
    ----------
    tidy : callable
        Called when a batch may have left files behind; it must not wait for a store.
    """

    def __init__(self, database: Database, app: Any, settings: Settings, *, tidy: Callable[[], None]) -> None:
        self._database = database
        self._app = app
        self._settings = settings
        self._tidy = tidy
        self._send = sender(app)
        self._wakes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dead: list[str] = []
        self.duty = Background("the reaper", self._step)

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set. Call `wake` after setting it, to end the current pause."""
        while not stop.is_set():
            self.duty.once()
            self._await_wake()

    def wake(self, *, dead: str | None = None) -> None:
        """Sweep now; `dead` is the token of a process that is known to have died with all its children."""
        self._wakes.put(dead)

    def _await_wake(self) -> None:
        try:
            dead = self._wakes.get(timeout=self._settings.sweep_s)
        except queue.Empty:
            return
        if dead is not None:
            self._dead.append(dead)

    def _step(self) -> None:
        # Dead processes come first, since their jobs wait. If this fails, the next step tries
        # again.
        while self._dead:
            take_back_jobs(self._database, f"-{self._dead[0]}", self._send, settings=self._settings, app=self._app)
            self._dead.pop(0)
            self._tidy()
        if is_my_turn(self._database, period_s=0.8 * self._settings.sweep_s):
            self.sweep()

    def sweep(self) -> None:
        """Sweep once: take jobs back, settle stopped batches, and send what has no message."""
        reclaimed = reclaim_expired(
            self._database, steady_s=self._settings.lease_s, max_deaths=self._settings.max_deaths
        )
        if reclaimed:
            logger.warning("took %d jobs back from workers that died or fell silent", sum(reclaimed.values()))
        _say_stopped(fail_stopped(self._database, budget_s=_ROWS_S))
        settle_cancelled(self._database, budget_s=_ROWS_S)
        self._tidy()
        if mended := restore_missing_chunks(self._database):
            logger.warning("added chunks for the queued jobs of %d batches that had none", mended)
        present = message_count(self._app)
        if lost := recall_lost(self._database, range(present), grace_s=self._settings.message_grace_s):
            logger.info("%d chunks had no message in the broker; sending them again", lost)
        publish_due(self._database, self._send, at_most=self._settings.max_messages - present)


def take_back_jobs(database: Database, suffix: str, send: Send, *, settings: Settings, app: Any) -> None:
    """Take the jobs of dead processes back and send their messages again at once."""
    if reclaimed := reclaim_dead(database, suffix, max_deaths=settings.max_deaths):
        logger.warning("took %d jobs back from a process that died", sum(reclaimed.values()))
        _say_stopped(fail_stopped(database, budget_s=_ROWS_S))
        publish_due(database, send, at_most=settings.max_messages - message_count(app))


def _say_stopped(count: int) -> None:
    if count:
        logger.error("%d jobs failed because their batches killed one worker after another; see `wavemill jobs`", count)


def clear(batch: Row[Any], begun: Begun) -> bool:
    """Remove what dead workers left of a finished batch: staged files, outputs of jobs not done."""
    try:
        store = open_store(batch_root(batch.output, batch.id), must_exist=batch.done > 0)
        params = params_from_row(batch.operation, batch.params)
        # Remove staged files first, since they could still be moved into place. Then remove
        # outputs. The removal is prepared before the table is read: in a folder, a batch that is
        # retried later stops this removal before it places any output. In an object store, it
        # cannot be stopped. There the table is read before each job, and a request takes less time
        # than a claim.
        store.clear_staging(strict=True)
        with store.removing() as remove:
            for spectrogram_id in begun():
                for path in output_paths(spectrogram_id, params):
                    remove(path)
    except StorageUnavailableError as exc:
        logger.debug(
            "batch %s: files of dead workers are not removed yet: %s", batch.id, exc, extra={"batch": batch.id}
        )
        return False
    except Exception as exc:  # must not stop later sweeps
        logger.warning(
            "batch %s: files of dead workers could not be removed yet: %s", batch.id, exc, extra={"batch": batch.id}
        )
        return False
    return True
