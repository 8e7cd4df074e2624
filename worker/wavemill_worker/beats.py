"""Detects frozen processes: each touches a file every second, which the supervisor checks.

The part of a process that must not freeze touches its file. The files are in a private folder of
the supervisor. Nothing here uses the table or the broker, so that a process that waits
for either is not taken for a frozen one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

FOLDER_VARIABLE = "WAVEMILL_BEATS"
BEAT_S = 1.0
_ENDED = ".ended"

# The most silence that one look adds: if the supervisor itself was frozen, the others must not
# count as silent for that time.
_MAX_STEP_S = 2.0


def loop_file(token: str) -> str:
    """Return the file that a Celery process's message loop touches."""
    return f"{token}.loop"


def beat(name: str) -> None:
    """Touch the file `name`. Do nothing if the folder is gone: the supervisor has ended."""
    with suppress(OSError):
        Path(os.environ[FOLDER_VARIABLE], name).touch(mode=0o600)


def keep_beating() -> None:
    """Beat for this process as a whole, in a file named by its process ID.

    The file stays locked while this process lives, so that the watch can tell it from a later
    process with the same ID.
    """
    name = str(os.getpid())
    try:
        path = Path(os.environ[FOLDER_VARIABLE], name)
        unlocked = path.with_suffix(".new")  # the watch looks at locks as soon as it sees the name
        file = os.open(unlocked, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(path)
    except OSError:
        return
    beat_from_thread(name)


def end_in_order() -> None:
    """Say that this process ends because it was told to, so that it does not count as dead."""
    beat(f"{os.getpid()}{_ENDED}")


def beat_from_thread(name: str) -> None:
    """Beat each second until this process ends or freezes."""

    def beat_forever() -> None:
        while True:
            beat(name)
            sleep(BEAT_S)

    threading.Thread(target=beat_forever, name="beat", daemon=True).start()


class Watch:
    """Measures how long each process has been silent, by its own clock, not the files' times."""

    def __init__(self) -> None:
        self._owned = tempfile.TemporaryDirectory(prefix="wavemill-beats-", ignore_cleanup_errors=True)
        self.folder = Path(self._owned.name)
        self._looked_at = monotonic()
        self._silences: dict[str, tuple[int, float]] = {}  # name -> (time of the last touch, seconds since)

    def close(self) -> None:
        """Remove the folder."""
        self._owned.cleanup()

    def look(self) -> None:
        """Look at every file. Call it at least every second."""
        looked_at, self._looked_at = self._looked_at, monotonic()
        step_s = min(self._looked_at - looked_at, _MAX_STEP_S)
        now: dict[str, tuple[int, float]] = {}
        for name, touched_at in self._touched():
            before, silent_s = self._silences.get(name, (None, 0.0))
            now[name] = (touched_at, silent_s + step_s if touched_at == before else 0.0)
        self._silences = now

    def _touched(self) -> Iterator[tuple[str, int]]:
        with suppress(OSError):
            for entry in os.scandir(self.folder):
                with suppress(OSError):
                    yield entry.name, entry.stat().st_mtime_ns

    def silent_s(self, name: str) -> float | None:
        """Return how long ago a file was touched; None if it never was."""
        return self._silences[name][1] if name in self._silences else None

    def forget(self, name: str) -> None:
        """Remove the file of a process that has ended."""
        (self.folder / name).unlink(missing_ok=True)
        self._silences.pop(name, None)

    def count_deaths(self) -> int:
        """Return how many processes have ended since the last call without `end_in_order`; forget all ended ones."""
        n_dead = 0
        for name in [name for name in self._silences if name.isdecimal() and not self._is_locked(name)]:
            n_dead += not (self.folder / f"{name}{_ENDED}").exists()
            self.forget(name)
            self.forget(f"{name}{_ENDED}")
        return n_dead

    def frozen_processes(self, limit_s: float) -> Iterator[int]:
        """Yield the IDs of processes that were silent for `limit_s`; forget ended ones."""
        for name, (_, silent_s) in list(self._silences.items()):
            if name.isdecimal() and silent_s >= limit_s:
                if self._is_locked(name):
                    yield int(name)
                else:
                    self.forget(name)

    def _is_locked(self, name: str) -> bool:
        try:
            with (self.folder / name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
