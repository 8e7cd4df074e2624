"""The reaper: takes jobs back from dead workers, and sends again what has a row and no message."""

from __future__ import annotations

import logging
import threading
from typing import Any

from wavemill.errors import NotFoundError, TransientError
from wavemill.jobs.control import settle_cancelled
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due, recall_lost, restore_missing_chunks
from wavemill.jobs.queries import batch_status
from wavemill.jobs.recovery import reclaim_expired
from wavemill.settings import Settings
from wavemill.storage import batch_root, open_store
from wavemill.transport import sender, waiting_chunks

logger = logging.getLogger(__name__)


class Reaper:
    """Sweeps every `sweep_s`; any number of reapers may sweep the same table."""

    def __init__(self, database: Database, app: Any, settings: Settings) -> None:
        self._database = database
        self._app = app
        self._settings = settings
        self._send = sender(app)
        self._torn: set[str] = set()  # batches that lost a worker, which may have left staged outputs behind

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set; an outage is said once, and waited for."""
        silent = False
        while not stop.is_set():
            try:
                self.sweep()
                silent = False
            except TransientError as exc:
                if not silent:
                    logger.warning("%s", exc)
                silent = True
            except Exception:
                logger.exception("a sweep failed; the next one follows")
            stop.wait(self._settings.sweep_s)

    def sweep(self) -> None:
        """Look once."""
        if reclaimed := reclaim_expired(self._database):
            logger.warning("took %d jobs back from workers that died or fell silent", sum(reclaimed.values()))
            self._torn |= set(reclaimed)
        self._clear_up()
        settle_cancelled(self._database)
        if mended := restore_missing_chunks(self._database):
            logger.warning("%d batches had queued jobs without a chunk", mended)
        present = waiting_chunks(self._app)
        if lost := recall_lost(self._database, present, grace_s=self._settings.message_grace_s):
            logger.warning("%d messages are no longer in the broker; sending them again", lost)
        publish_due(self._database, self._send)

    def _clear_up(self) -> None:
        """Clear the staging of torn batches that are finished: the last finish does it, but these may have had none."""
        for batch_id in sorted(self._torn):
            try:
                status = batch_status(self._database, batch_id)
            except NotFoundError:
                self._torn.discard(batch_id)
                continue
            if status["finished_at"] is not None:
                self._torn.discard(batch_id)  # first: one that cannot be cleared must not stop every sweep to come
                open_store(batch_root(status["output"], batch_id)).clear_staging()
