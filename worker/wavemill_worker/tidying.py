"""Clears up after dead workers, in a thread, so that a slow store does not delay the reaper."""

from __future__ import annotations

import threading

from wavemill.jobs.database import Database
from wavemill.jobs.recovery import mend_torn
from wavemill.settings import Settings
from wavemill_worker.background import Background
from wavemill_worker.reaper import clear


class Tidying:
    """Clears up finished batches after dead workers, whenever it is woken. `duty` reports errors."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._wanted = threading.Event()
        self.duty = Background("the clearing up after dead workers", self._step)

    def run(self, stop: threading.Event) -> None:
        """Clear up when woken, until `stop` is set and `wake` called; then once more."""
        while not stop.is_set():
            self._wanted.wait(self._settings.sweep_s)
            self.duty.once()

    def wake(self) -> None:
        """Clear up now."""
        self._wanted.set()

    def _step(self) -> None:
        if self._wanted.is_set():
            self._wanted.clear()
            mend_torn(self._database, clear)
