"""Which processes a supervisor has below it, as Linux tells."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, oldest first; none if it is gone."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return sorted(found)


def celery_processes(supervisor: int) -> list[int]:
    """Return the Celery processes of a supervisor: one for each place on a device."""
    return [pid for pid in children_of(supervisor) if b"wavemill_worker.process" in _command(pid)]


def worker_processes(supervisor: int) -> list[int]:
    """Return the processes that do the work: a spawned child of each Celery process."""
    below = [pid for parent in celery_processes(supervisor) for pid in children_of(parent)]
    return [pid for pid in below if b"spawn_main" in _command(pid)]


def signal_process(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False where the process ended just now."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
