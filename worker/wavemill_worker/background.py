"""What a process does beside its work, again and again: sweeping, beating. It must outlive every error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from wavemill.errors import TransientError

logger = logging.getLogger(__name__)


class Background:
    """One duty, done a step at a time; remembers what is wrong with it, and says each trouble once.

    Parameters
    ----------
    duty : str
        As in "the reaper".
    step : callable
        Whatever it raises is logged, and the next step follows all the same.
    """

    def __init__(self, duty: str, step: Callable[[], None]) -> None:
        self._duty = duty
        self._step = step
        self._error: str | None = None
        self._done_at = monotonic()
        self._thread: threading.Thread | None = None

    def once(self) -> None:
        """Do the step."""
        try:
            self._step()
        except Exception as exc:
            self.failed(exc)
        else:
            if self._error is not None:
                logger.warning("%s works again", self._duty)
            self._error, self._done_at = None, monotonic()

    def failed(self, exc: Exception) -> None:
        """Remember what is wrong, until a step is done."""
        error = f"{type(exc).__name__}: {exc}"
        if error != self._error:
            # A TransientError says all in its sentence; anything else needs to be looked into.
            logger.warning("%s: %s", self._duty, exc, exc_info=not isinstance(exc, TransientError))
        self._error = error

    def trouble(self, *, silent_s: float) -> str | None:
        """Return what is wrong, or None; a step that hangs is noticed after `silent_s`."""
        quiet_s = monotonic() - self._done_at
        if self._error is not None:
            return f"{self._duty} has failed for {quiet_s:.0f} s: {self._error}"
        if quiet_s > silent_s:
            return f"{self._duty} has done nothing for {quiet_s:.0f} s"
        return None

    def keep_running(self, loop: Callable[[], None]) -> None:
        """Start a thread that runs `loop`, and start it again if it has ended although it should not.

        Raises RuntimeError where the system has no room for another thread; the next call tries again.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            logger.error("%s: its thread has ended; starting it again", self._duty)
        thread = threading.Thread(target=loop, name=self._duty, daemon=True)
        thread.start()
        self._thread = thread

    def join(self, at_most_s: float | None = None) -> None:
        """Wait for the thread to end; one that hangs ends with its process."""
        if self._thread is not None:
            self._thread.join(at_most_s)
