"""The supervisor's pulse: records in the table that it is alive, and its problems."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.pulse import BEATS_PER_LEASE, beat
from wavemill.jobs.workers import supervisor_beat, supervisor_stopped
from wavemill.settings import Settings
from wavemill_worker.background import Background

logger = logging.getLogger(__name__)

_SILENT_SWEEPS = 6  # a duty that has finished no step for this many periods is in trouble
_LEAST_SILENT_S = 30.0
_MOST_PAUSE_S = 5.0  # even with long leases, so that users see trouble soon


def supervisor_id(settings: Settings) -> str:
    """Return the name of this process in the table, as a supervisor."""
    return f"{settings.worker_name}/{os.getpid()}"


class Pulse:
    """Beats at least `BEATS_PER_LEASE` times per lease, and reports on the `watched` duties."""

    def __init__(self, database: Database, settings: Settings, *, watched: Sequence[Background]) -> None:
        self._database = database
        self._settings = settings
        self._watched = watched
        self._id = supervisor_id(settings)
        self.duty = Background("the pulse", self._step)

    def run(self, stop: threading.Event) -> None:
        """Beat until `stop` is set, then remove this supervisor from the table."""
        while True:
            self.duty.once()
            if stop.wait(min(self._settings.lease_s / BEATS_PER_LEASE, _MOST_PAUSE_S)):
                break
        try:
            supervisor_stopped(self._database, self._id)
        except DatabaseUnavailableError as exc:
            logger.warning("%s", exc)

    def _step(self) -> None:
        beat(self._database, lease_s=self._settings.lease_s)
        silent_s = max(_SILENT_SWEEPS * self._settings.sweep_s, _LEAST_SILENT_S)
        supervisor_beat(
            self._database,
            self._id,
            host=self._settings.worker_name,
            pid=os.getpid(),
            trouble="; ".join(filter(None, (duty.trouble(silent_s=silent_s) for duty in self._watched))) or None,
        )
