"""The supervisor of `wavemill worker`: runs Celery worker processes on each device, and the reaper.

Does not import TensorFlow.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from time import monotonic
from typing import TYPE_CHECKING, Any

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import is_drained
from wavemill.settings import Settings
from wavemill.webhooks import start_calling
from wavemill_worker import beats, devices
from wavemill_worker.app import create_app
from wavemill_worker.pulse import Pulse
from wavemill_worker.reaper import Reaper
from wavemill_worker.tidying import Tidying

if TYPE_CHECKING:
    from wavemill_worker.metrics import Metrics

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_HEALTHY_AFTER_S = 60.0
_MAX_RESTART_DELAY_S = 30.0
_START_S = 600.0  # until the first beat of a message loop: Python may load from a slow network disk
# A running loop beats each second, even while it waits for its broker, and no step takes over 5 s.
_LOOP_SILENCE_S = 30.0
# A frozen child may hold SQLite's lock, and then all others wait. Other workers get its jobs after
# one lease. Wait for three, in case somebody has stopped it on purpose and continues it.
_CHILD_SILENCE_S = 60.0
_LEASES_OF_SILENCE = 3
_TIDY_S = 5.0  # for clearing up at the end; the next supervisor does what takes longer


@dataclass(kw_only=True)
class _Slot:
    """One process on one device: the process that runs now, and when it may be started again."""

    name: str
    device: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    token: str = ""  # identifies this process and its children
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    problem: str | None = None  # why it could not be started

    def delay(self, *, was_healthy: bool = False) -> float:
        """Delay the next start, longer after each failure in a row; return the delay in s."""
        self.failures = 0 if was_healthy else self.failures + 1
        delay_s = min(2.0 ** min(self.failures, 16) / 2, _MAX_RESTART_DELAY_S)
        self.start_at = monotonic() + delay_s
        return delay_s


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a supervisor, as its metrics show them."""

    alive: Mapping[str, int]  # device -> message loops that run
    deaths: int  # rendering processes that ended without being told to
    restarts: int  # message loops that ended by themselves


class Supervisor:
    """Keeps `per_device` worker processes alive on each device until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        device_list: Sequence[str],
        per_device: int,
        drain: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._deaths = self._restarts = 0
        self._drain = drain
        self._child_silence_s = max(_CHILD_SILENCE_S, _LEASES_OF_SILENCE * settings.lease_s)
        n_threads = devices.threads_per_process(len(device_list) * per_device, settings.threads)
        self._slots = [
            _Slot(
                name=f"{devices.name(device)}-{k}-{os.getpid()}@{settings.worker_name}",
                device=devices.name(device),
                environment={
                    **os.environ,
                    **settings.as_environment(),
                    **devices.environment(device, n_threads=n_threads),
                    **(metrics.environment(number) if metrics else {}),
                },
            )
            for number, (device, k) in enumerate(product(device_list, range(per_device)))
        ]
        self._watch = beats.Watch()
        self._stop = threading.Event()
        if metrics:
            metrics.watch(self._processes)

    def stop(self, *_: Any) -> None:
        """Ask for an orderly shutdown, in which unfinished jobs return to the queue."""
        self._stop.set()

    def run(self) -> None:
        """Start, watch and restart processes, until stopped or drained and all have ended."""
        database = Database(self._settings.sqlalchemy_url, silence_s=self._settings.silence_s)
        self._tidying = Tidying(database, self._settings)
        self._reaper = Reaper(database, create_app(self._settings), self._settings, tidy=self._tidying.wake)
        self._pulse = Pulse(database, self._settings, watched=(self._reaper.duty, self._tidying.duty))
        start_calling(database, self._settings.webhook_secret, self._stop)
        try:
            while not self._stop.is_set():
                if self._drain and _nothing_is_left(database):
                    break
                self._watch.look()
                self._end_frozen_children()
                self._deaths += self._watch.count_deaths()
                for background in (self._pulse, self._reaper, self._tidying):
                    try:
                        background.duty.keep_running(partial(background.run, self._stop))
                    except RuntimeError as exc:  # no room for a thread; there may be some later
                        background.duty.failed(exc)
                for slot in self._slots:
                    self._tend(slot)
                self._stop.wait(_POLL_S)
        finally:
            self._stop.set()
            self._reaper.wake()
            self._end_processes()
            self._reaper.duty.join()
            self._pulse.duty.join()
            self._tidying.wake()
            self._tidying.duty.join(_TIDY_S)
            database.close()
            self._watch.close()
            if self._metrics:
                self._metrics.close()

    def _tend(self, slot: _Slot) -> None:
        if slot.process is None:
            if monotonic() >= slot.start_at:
                self._start(slot)
        elif slot.process.poll() is not None:
            self._reaper.wake(dead=slot.token)  # its child ends with it
            delay_s = slot.delay(was_healthy=monotonic() - slot.started_at > _HEALTHY_AFTER_S)
            self._restarts += 1
            logger.warning("%s ended with %s; restart in %.1f s", slot.name, slot.process.returncode, delay_s)
            slot.process = None
            self._watch.forget(beats.loop_file(slot.token))
        elif (silent_s := self._silence_of_loop(slot)) is not None:
            logger.warning("%s: its message loop has stood still for %.0f s; killed", slot.name, silent_s)
            slot.process.kill()

    def _start(self, slot: _Slot) -> None:
        slot.token = secrets.token_hex(4)
        try:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", "wavemill_worker.process", slot.name, slot.token, str(os.getpid())],
                env={**slot.environment, beats.FOLDER_VARIABLE: str(self._watch.folder)},
                start_new_session=True,  # only the supervisor gets Ctrl-C; it then sends SIGTERM
            )
        except OSError as exc:  # too many processes or open files, or no memory; the other processes continue
            if str(exc) != slot.problem:
                logger.warning("%s cannot be started: %s; trying again", slot.name, exc)
            slot.problem = str(exc)
            slot.delay()
        else:
            slot.problem, slot.started_at = None, monotonic()

    def _processes(self) -> Processes:
        alive = Counter({slot.device: 0 for slot in self._slots})
        alive.update(slot.device for slot in self._slots if slot.process is not None)
        return Processes(alive=alive, deaths=self._deaths, restarts=self._restarts)

    def _silence_of_loop(self, slot: _Slot) -> float | None:
        """Return how long a message loop has been silent, if that is too long; otherwise None."""
        silent_s = self._watch.silent_s(beats.loop_file(slot.token))
        if silent_s is None:
            since_start_s = monotonic() - slot.started_at
            return since_start_s if since_start_s >= _START_S else None
        return silent_s if silent_s >= _LOOP_SILENCE_S else None

    def _end_frozen_children(self) -> None:
        for pid in self._watch.frozen_processes(self._child_silence_s):
            logger.warning("process %d has stood still for %.0f s; killed", pid, self._child_silence_s)
            with suppress(ProcessLookupError):  # it has already ended
                os.kill(pid, signal.SIGKILL)
            self._watch.forget(str(pid))

    def _end_processes(self) -> None:
        alive = [slot.process for slot in self._slots if slot.process is not None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = monotonic() + self._settings.stop_grace_s
        for process in alive:
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning(
                    "process %d did not end in time; killed, its jobs are taken back when their lease ends", process.pid
                )
                process.kill()
                process.wait()


def _nothing_is_left(database: Database) -> bool:
    try:
        return is_drained(database)
    except DatabaseUnavailableError:
        return False  # not known; the reaper logs the outage
