"""Runs bulk actions in threads of the web process: new ones, and those that a dead process has left."""

from __future__ import annotations

import logging
import threading
from typing import Any

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.bulk import StoppedError, take_next
from wavemill_producer.bulk import BulkActions
from wavemill_producer.producer import Producer

logger = logging.getLogger(__name__)

_THREADS = 2  # so that a long export delays no other action
_STOP_S = 5.0  # for a page that is being changed
_ASK_S = 5.0  # between two looks for actions that others have left


class BulkRunner:
    """Takes one action after the other, in each of its threads, until it is closed."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._wake = threading.Condition()
        self._is_closed = False
        self._threads = [threading.Thread(target=self._work, name=f"bulk-{n}", daemon=True) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for a new action now."""
        with self._wake:
            self._wake.notify_all()

    def close(self) -> None:
        """Stop after the page that is being changed; another process takes what is left."""
        with self._wake:
            self._is_closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(_STOP_S)

    def _work(self) -> None:
        is_away = False
        while not self._is_closed:
            try:
                action_id = take_next(self._producer.database)
                is_away = False
                if action_id is not None:
                    BulkActions(self._producer).run(action_id, told=self._told)
                    continue
            except DatabaseUnavailableError as exc:
                if not is_away:
                    logger.warning("%s; bulk actions wait for it", exc)
                is_away = True
            except Exception:
                logger.exception("a bulk action was left to others")
            with self._wake:
                if not self._is_closed:
                    self._wake.wait(_ASK_S)

    def _told(self, _status: dict[str, Any]) -> None:
        if self._is_closed:
            raise StoppedError
