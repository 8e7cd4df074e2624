"""`wavemill worker`: one Celery worker process for each device, and the reaper; imports no TensorFlow."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import is_drained
from wavemill.settings import Settings
from wavemill_worker import devices
from wavemill_worker.app import create_app
from wavemill_worker.pulse import Pulse
from wavemill_worker.reaper import Reaper

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_HEALTHY_AFTER_S = 60.0
_MAX_RESTART_DELAY_S = 30.0


@dataclass(kw_only=True)
class _Slot:
    """A device's place for one process, and when it may be started (again)."""

    name: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    token: str = ""  # tells this process, and the workers in it, from every other
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = field(default=0)


class Supervisor:
    """Keeps `per_device` worker processes alive on each device until it is told to stop."""

    def __init__(self, settings: Settings, *, device_list: Sequence[str], per_device: int, drain: bool = False) -> None:
        self._settings = settings
        self._drain = drain
        n_threads = devices.threads_per_process(len(device_list) * per_device, settings.threads)
        self._slots = [
            _Slot(
                name=f"{devices.name(device)}-{k}-{os.getpid()}@{settings.worker_name}",
                environment={
                    **os.environ,
                    **settings.as_environment(),
                    **devices.environment(device, n_threads=n_threads),
                },
            )
            for device in device_list
            for k in range(per_device)
        ]
        self._stop = threading.Event()

    def stop(self, *_: Any) -> None:
        """Ask for an orderly shutdown: work in hand is given back."""
        self._stop.set()

    def run(self) -> None:
        """Start, watch and restart the processes; return when stopped, or drained, and all of them have ended."""
        database = Database(self._settings.sqlalchemy_url)
        self._reaper = Reaper(database, create_app(self._settings), self._settings)
        self._pulse = Pulse(database, self._settings, watched=self._reaper.duty)
        try:
            while not self._stop.is_set():
                if self._drain and _nothing_is_left(database):
                    break
                for background in (self._pulse, self._reaper):
                    background.duty.keep_running(partial(background.run, self._stop))
                for slot in self._slots:
                    self._tend(slot)
                self._stop.wait(_POLL_S)
        finally:
            self._stop.set()
            self._reaper.wake()
            self._end_processes()
            self._reaper.duty.join()
            self._pulse.duty.join()
            database.close()

    def _tend(self, slot: _Slot) -> None:
        if slot.process is None:
            if monotonic() >= slot.start_at:
                slot.token = secrets.token_hex(4)
                slot.process = subprocess.Popen(
                    [sys.executable, "-m", "wavemill_worker.process", slot.name, slot.token, str(os.getpid())],
                    env=slot.environment,
                    start_new_session=True,  # Ctrl-C is for the supervisor, which then asks politely
                )
                slot.started_at = monotonic()
        elif slot.process.poll() is not None:
            self._reaper.wake(dead=slot.token)  # its child ends with it
            healthy = monotonic() - slot.started_at > _HEALTHY_AFTER_S
            slot.failures = 0 if healthy else slot.failures + 1
            delay_s = min(2.0**slot.failures / 2, _MAX_RESTART_DELAY_S)
            logger.warning("%s ended with %s; restart in %.1f s", slot.name, slot.process.returncode, delay_s)
            slot.process, slot.start_at = None, monotonic() + delay_s

    def _end_processes(self) -> None:
        alive = [slot.process for slot in self._slots if slot.process is not None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = monotonic() + self._settings.stop_grace_s
        for process in alive:
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("process %d did not end in time; killed, its lease will end", process.pid)
                process.kill()
                process.wait()


def _nothing_is_left(database: Database) -> bool:
    try:
        return is_drained(database)
    except DatabaseUnavailableError:
        return False  # nobody knows; the reaper says so
