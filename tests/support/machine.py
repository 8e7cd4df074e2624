"""A machine at fault: `support.faults` copies this file, and Python runs it at the start of every worker process.

What it is to do stands in variables of the environment. It knows nothing of wavemill but the name `.staging`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_POISON = os.environ.get("POISON")
_FULL, _SLOW, _PLACED, _FREEZE, _CLOCK = (
    os.environ.get(name) for name in ("FULL_WHILE", "SLOW_WHILE", "PLACED", "FREEZE", "TABLE_CLOCK")
)
_STAGING = "/.staging/"
_log = os.open(f"{_PLACED}/{os.getpid()}-{time.time_ns()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND) if _PLACED else None
_placements = 0  # that this process has begun since `_FREEZE` is there


def _note(event: str, **values: object) -> None:
    if _log is not None:
        line = json.dumps({"event": event, "time": time.time(), "pid": os.getpid(), **values})
        os.write(_log, f"{line}\n".encode())


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    """Act on an audit event of Python's own: it comes before the operating system is asked."""
    if event in {"os.rename", "os.link"} and _STAGING in str(arguments[0]):
        _freeze_if_told_to()
    if event != "open" or not isinstance(arguments[0], str):
        return
    if _POISON and os.path.basename(arguments[0]).startswith(_POISON):  # noqa: PTH119  on every open: no Path is built
        _note("poisoned", path=arguments[0])
        os.kill(os.getpid(), signal.SIGKILL)
    if _STAGING in arguments[0] and arguments[2] & (os.O_WRONLY | os.O_RDWR):  # a full disk can be read
        if _FULL and os.path.exists(_FULL):  # noqa: PTH110
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])
        if _SLOW and os.path.exists(_SLOW):  # noqa: PTH110
            time.sleep(0.1)


def _freeze_if_told_to() -> None:
    """Stop this process if it is the first that comes to its n-th placement; the file `FREEZE` holds n."""
    global _placements
    try:
        with open(_FREEZE or "") as told:  # noqa: PTH123
            n = int(told.read())
        _placements += 1
        if _placements < n:
            return
        os.rename(told.name, f"{told.name}.{os.getpid()}")  # noqa: PTH104  one process gets it
    except FileNotFoundError:
        _placements = 0
        return
    os.kill(os.getpid(), signal.SIGSTOP)


def _watched(operation: Callable[..., None], name: str) -> Callable[..., None]:
    """Wrap a function of `os`, so that it notes which file it has put where. Only what succeeded is noted."""

    def call(source: Any, target: Any, *arguments: Any, **keywords: Any) -> None:
        is_placement = _STAGING in str(source) and _STAGING not in str(target)
        digest = _digest(source) if is_placement and _log is not None else None
        operation(source, target, *arguments, **keywords)
        if is_placement:
            _note("place", path=str(target), sha256=digest, by=name)

    return call


def _digest(path: Any) -> str | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # the operation will say so


class _Clock:
    """Stands for SQLite's `strftime`: its 'now' is so many seconds from the true time as the file says."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._true = _connect(":memory:", check_same_thread=False)

    def __call__(self, *arguments: Any) -> Any:
        with open(self._file) as told:  # noqa: PTH123
            ahead = f"{int(told.read()):+d} seconds"
        if arguments[1:2] == ("now",):
            now = self._ask("%Y-%m-%d %H:%M:%f", "now", ahead)
            arguments = (arguments[0], now, *arguments[2:])
        return self._ask(*arguments)

    def _ask(self, *arguments: Any) -> Any:
        with self._lock:
            marks = ", ".join("?" * len(arguments))
            return self._true.execute(f"SELECT strftime({marks})", arguments).fetchone()[0]


def _with_clock(connect: Callable[..., Any], file: str) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        connection = connect(*arguments, **keywords)
        connection.create_function("strftime", -1, _Clock(file))
        return connection

    return call


_note("born", parent=os.getppid())
if _CLOCK:
    _connect = sqlite3.connect
    sqlite3.connect = sqlite3.dbapi2.connect = _with_clock(_connect, _CLOCK)
for _name in ("rename", "replace", "link"):
    setattr(os, _name, _watched(getattr(os, _name), _name))
sys.addaudithook(_listen)
