"""The process that renders: a spawned child of a Celery worker, with TensorFlow on one device."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from celery import signals

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.patience import answers_within
from wavemill.jobs.workers import beat, register_worker, unregister_worker
from wavemill.rendering.chunk_worker import ChunkWorker
from wavemill.settings import Settings
from wavemill_worker import beats, devices, log, meter
from wavemill_worker.background import Background
from wavemill_worker.lost_workers import suffix_of

logger = logging.getLogger(__name__)

_BEATS_PER_LEASE = 4


class Child:
    """The state of a rendering process: its worker ID, its renderer and its heartbeat."""

    def __init__(self, settings: Settings) -> None:
        beats.keep_beating()
        self._settings = settings
        self._database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
        self._device = devices.current()
        self.worker_id = _worker_id(settings)
        self._stop = threading.Event()
        self._ended = threading.Event()
        self.renderer = self._chunk_worker()
        self.renderer.meter = meter.meter(self._device)
        self._registered = False
        self._started = perf_counter()
        self._heartbeat = Background("the heartbeat", self._beat)
        self.keep_beating()

    def keep_beating(self) -> None:
        """Start the heartbeat's thread, or restart it if it has ended."""
        self._heartbeat.keep_running(self._beat_until_ended)

    def _chunk_worker(self) -> ChunkWorker:
        if kind := devices.current_kind():
            return kind.chunk_worker(
                self._device, self._database, self._settings, worker_id=self.worker_id, stop=self._stop
            )
        n_threads = devices.current_threads()
        devices.configure_tensorflow(n_threads)
        devices.limit_gpu_memory(self._settings.gpu_memory_mb)
        if self._device != devices.CPU:
            n_threads = max(2, n_threads)  # one thread waits for the GPU while another encodes
        from wavemill.rendering.renderer import (  # imports TensorFlow, which only this process may do
            Renderer,
            warm_up,
        )

        warm_up()
        return Renderer(self._database, self._settings, worker_id=self.worker_id, n_threads=n_threads, stop=self._stop)

    @contextmanager
    def giving_back_on_sigterm(self) -> Iterator[None]:
        """On SIGTERM, finish the current sub-batch and return the rest of the chunk to the queue.

        Entered for each task, since Celery's pool sets its own handlers after the process is
        initialised. A process that gets another task after SIGTERM exits: the signal did not reach
        its parent, which starts a new child. The task's chunk has a row in the table, so its
        message is sent again.
        """
        if self._stop.is_set():
            raise SystemExit("told to stop")
        handler = signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)

    def close(self) -> None:
        """Stop the heartbeat and remove this worker from the table."""
        self._ended.set()
        self._heartbeat.join()
        try:
            unregister_worker(self._database, self.worker_id)
        except DatabaseUnavailableError as exc:
            logger.warning("%s", exc)
        self._database.close()
        beats.end_in_order()

    def _beat_until_ended(self) -> None:
        while True:
            self._heartbeat.once()
            if self._ended.wait(self._settings.lease_s / _BEATS_PER_LEASE):
                return

    def _beat(self) -> None:
        trouble = self._heartbeat.trouble(silent_s=self._settings.lease_s)
        name, host = self.worker_id, self._settings.worker_name
        # If one beat is lost, there is time for another before the lease ends.
        with answers_within(self._settings.lease_s / 2):
            if not self._registered:
                register_worker(self._database, name, host=host, pid=os.getpid(), device=self._device)
                self._registered = True
            self.renderer.renew_leases()
            done = self.renderer.jobs_done
            rate = done / (perf_counter() - self._started)
            beat(self._database, name, jobs_done=done, jobs_per_second=rate, trouble=trouble)


def _worker_id(settings: Settings) -> str:
    return f"{settings.worker_name}/{devices.current()}{suffix_of(os.getpid())}"


_child: Child | None = None


def child() -> Child:
    """Return this process's `Child`; only a worker's child process has one."""
    if _child is None:
        raise RuntimeError("this process was not started by a wavemill worker")
    return _child


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    settings = Settings.from_env()
    log.set_up(settings, _worker_id(settings))


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _start(**_: Any) -> None:
    global _child  # one per process, made when the process starts
    started = perf_counter()
    try:
        _child = Child(Settings.from_env())
    except Exception:
        # Celery would only log it, and this process would take messages and do nothing with them.
        # So end the parent: the supervisor starts both again, with growing delays.
        logger.exception("this process could not start and ends")
        os.kill(os.getppid(), signal.SIGTERM)
        raise
    logger.info("%s is ready after %.1f s", _child.worker_id, perf_counter() - started)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    if _child is not None:
        _child.close()
