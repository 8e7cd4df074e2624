"""Read a folder that another process may replace during the read. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wavemill.errors import ModelError

Result = TypeVar("Result")
Identity = tuple[int, int, int]

_TRIES = 50
_PAUSE_S = 0.02  # longer than the two renames of a replacement


def scratch_prefix(folder: Path) -> str:
    """Return the prefix of the scratch folders beside `folder` while it is written."""
    return f".{folder.name}-"


def read_steadily(folder: Path, read: Callable[[Path], Result]) -> Result:
    """Return `read(folder)`, repeated if the folder was replaced during the read.

    A result of `read`, or a ModelError or OSError from it, is passed on only if the folder stayed
    the same. If the folder is missing while a new one is being written, this waits up to a second
    for it.
    """
    for _ in range(_TRIES):
        before = _identity(folder)
        try:
            result = read(folder)
        except (ModelError, OSError):
            if _is_settled(folder, before):
                raise
        else:
            if _is_settled(folder, before):
                return result
        time.sleep(_PAUSE_S)  # another process is between its two renames
    return read(folder)


def _is_settled(folder: Path, before: Identity | None) -> bool:
    return before == _identity(folder) and (before is not None or not _is_being_written(folder.resolve()))


def _identity(folder: Path) -> Identity | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns  # ctime too: inode numbers are reused


def _is_being_written(folder: Path) -> bool:
    return any(folder.parent.glob(f"{scratch_prefix(folder)}*"))
