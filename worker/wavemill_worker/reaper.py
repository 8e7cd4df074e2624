"""The reaper: takes jobs back from dead workers, and sends again what has a row and no message."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from wavemill.errors import BrokerUnavailableError, TransientError
from wavemill.jobs.control import settle_cancelled
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import Send, publish_due, recall_lost, restore_missing_chunks
from wavemill.jobs.recovery import mend_torn, reclaim_dead, reclaim_expired
from wavemill.requests import output_paths, params_from_row
from wavemill.settings import Settings
from wavemill.storage import batch_root, open_store
from wavemill.transport import is_my_turn, sender, waiting_chunks

logger = logging.getLogger(__name__)


class Reaper:
    """Sweeps every `sweep_s`, and at once when it is told of a death; any number may sweep the same table."""

    def __init__(self, database: Database, app: Any, settings: Settings) -> None:
        self._database = database
        self._app = app
        self._settings = settings
        self._send = sender(app)
        self._orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set and `wake` called; an outage is said once, and waited for.

        Of all reapers one sweeps in a period, since every sweep lists the broker's messages; without a broker all do.
        """
        silent = False
        while not stop.is_set():
            try:
                if self._is_my_turn():
                    self.sweep()
                silent = False
            except TransientError as exc:
                if not silent:
                    logger.warning("%s", exc)
                silent = True
            except Exception:
                logger.exception("a sweep failed; the next one follows")
            self._await_orders()

    def _is_my_turn(self) -> bool:
        try:
            return is_my_turn(self._app, "sweep", period_s=0.8 * self._settings.sweep_s)
        except BrokerUnavailableError:
            return True

    def wake(self, *, dead: str | None = None) -> None:
        """Sweep now; `dead` is the token of a process that is known to have died with all its children."""
        self._orders.put(dead)

    def _await_orders(self) -> None:
        try:
            dead = self._orders.get(timeout=self._settings.sweep_s)
            if dead is not None:
                bury(self._database, f"-{dead}", self._send, at_most=self._settings.max_messages)
        except queue.Empty:
            pass
        except TransientError:
            pass  # the lease ends

    def sweep(self) -> None:
        """Look once."""
        if reclaimed := reclaim_expired(self._database):
            logger.warning("took %d jobs back from workers that died or fell silent", sum(reclaimed.values()))
        settle_cancelled(self._database)
        mend_torn(self._database, _clear)
        if mended := restore_missing_chunks(self._database):
            logger.warning("%d batches had queued jobs without a chunk", mended)
        present = waiting_chunks(self._app)
        if lost := recall_lost(self._database, present, grace_s=self._settings.message_grace_s):
            logger.warning("%d messages are no longer in the broker; sending them again", lost)
        publish_due(self._database, self._send, at_most=self._settings.max_messages - len(present))


def bury(database: Database, suffix: str, send: Send, *, at_most: int) -> None:
    """Take back and send again at once what dead processes held; clear up if that ended their batch."""
    if reclaimed := reclaim_dead(database, suffix):
        logger.warning("took %d jobs back from a process that died", sum(reclaimed.values()))
        mend_torn(database, _clear)
    publish_due(database, send, at_most=at_most)


def _clear(batch: Row[Any], begun: Sequence[str]) -> None:
    """Remove what dead workers left of a finished batch: all that is staged, and outputs of jobs that are not done."""
    try:
        store = open_store(batch_root(batch.output, batch.id))
        store.clear_staging()
        params = params_from_row(batch.operation, batch.params)
        for spectrogram_id in begun:
            for path in output_paths(spectrogram_id, params):
                store.remove(path)
    except Exception:  # it must not stop every sweep to come
        logger.exception("batch %s: what dead workers left could not be cleared up", batch.id)
