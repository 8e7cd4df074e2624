"""A circuit breaker: stops using what keeps failing, and tries it again now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

logger = logging.getLogger(__name__)


class Breaker:
    """Opens after `failures` failures in a row; from then on allows one try after each pause.

    Safe to use from several threads.

    Parameters
    ----------
    what : name of what it guards, for log lines
    instead : what happens while it is open
    failures : int > 0, in a row
    pause_s : float > 0
    """

    def __init__(
        self,
        what: str,
        *,
        instead: str,
        failures: int = 3,
        pause_s: float = 300.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._what, self._instead = what, instead
        self._failures, self._pause_s, self._clock = failures, pause_s, clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._next_try = 0.0

    def allows(self) -> bool:
        """Whether to try now."""
        with self._lock:
            if self._in_a_row < self._failures:
                return True
            if self._clock() < self._next_try:
                return False
            self._next_try = self._clock() + self._pause_s  # others wait for the result of this try
            return True

    def failed(self, exc: Exception) -> None:
        """Note a failure; log the one that opens the breaker."""
        with self._lock:
            self._in_a_row += 1
            self._next_try = self._clock() + self._pause_s
            if self._in_a_row == self._failures:
                logger.warning(
                    "%s failed %d times in a row: %s; the next try is in %.0f s: %s",
                    self._what, self._failures, self._instead, self._pause_s, exc,
                )  # fmt: skip

    def worked(self) -> None:
        """Note a success: close the breaker."""
        with self._lock:
            was_open, self._in_a_row = self._in_a_row >= self._failures, 0
        if was_open:
            logger.warning("%s works again", self._what)
