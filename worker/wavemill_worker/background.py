"""Runs background duties, such as sweeps and heartbeats, and keeps them going after errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from wavemill.errors import TransientError

logger = logging.getLogger(__name__)


class Background:
    """One duty, done in steps. Remembers the last error and logs each error once.

    Parameters
    ----------
    duty : str
        Its name in log lines, such as "the reaper".
    step : callable
        An exception that it raises is logged, and does not prevent the next step.
    """

    def __init__(self, duty: str, step: Callable[[], None]) -> None:
        self._duty = duty
        self._step = step
        self._error: str | None = None
        self._done_at = monotonic()
        self._thread: threading.Thread | None = None

    def once(self) -> None:
        """Do one step."""
        try:
            self._step()
        except Exception as exc:
            self.failed(exc)
        else:
            if self._error is not None:
                logger.warning("%s works again", self._duty)
            self._error, self._done_at = None, monotonic()

    def failed(self, exc: Exception) -> None:
        """Remember the error until a step succeeds."""
        error = f"{type(exc).__name__}: {exc}"
        if error != self._error:
            # A TransientError's sentence says everything; any other error needs its traceback.
            logger.warning("%s: %s", self._duty, exc, exc_info=not isinstance(exc, TransientError))
        self._error = error

    def trouble(self, *, silent_s: float) -> str | None:
        """Return what is wrong, or None. A step that hangs is reported after `silent_s`."""
        quiet_s = monotonic() - self._done_at
        if self._error is not None:
            return f"{self._duty} has failed for {quiet_s:.0f} s: {self._error}"
        if quiet_s > silent_s:
            return f"{self._duty} has done nothing for {quiet_s:.0f} s"
        return None

    def keep_running(self, loop: Callable[[], None]) -> None:
        """Start a thread that runs `loop`, or start it again if it has ended.

        Raises RuntimeError if the system has no room for another thread; the next call tries again.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            logger.error("%s: its thread has ended; starting it again", self._duty)
        thread = threading.Thread(target=loop, name=self._duty, daemon=True)
        thread.start()
        self._thread = thread

    def join(self, at_most_s: float | None = None) -> None:
        """Wait for the thread to end. A thread that hangs ends with its process."""
        if self._thread is not None:
            self._thread.join(at_most_s)
