"""Maps a function over batches in processes, with a bounded number of batches in flight."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_handle
from typing import TypeVar

from wavemill.errors import DatasetError

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_IN_FLIGHT_PER_PROCESS = 2  # one being processed, one waiting


def map_in_processes(
    function: Callable[[Batch], Result], batches: Iterable[Batch], *, processes: int
) -> Iterator[Result]:
    """Yield the results in the order in which they are ready; memory does not grow with the number of batches.

    Processes are spawned, not forked: the caller may hold threads and an open database.
    """
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_process)
    running: set[Future[Result]] = set()
    try:
        for batch in batches:
            running.add(executor.submit(function, batch))
            if len(running) >= processes * _IN_FLIGHT_PER_PROCESS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as exc:
        raise DatasetError(
            "a process died while it read recordings; finished work is kept: run again with --jobs 1 (in Python "
            "jobs=1) to find the recording"
        ) from exc
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent stops the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent is gone, since after a kill -9 nothing else ends this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handle([parent.sentinel])
        os._exit(1)
