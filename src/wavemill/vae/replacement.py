"""Read a folder that somebody may put another one in place of meanwhile. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wavemill.errors import ModelError

Result = TypeVar("Result")
Identity = tuple[int, int, int]

_TRIES = 50
_PAUSE_S = 0.02  # a replacement takes two renames


def scratch_prefix(folder: Path) -> str:
    """Return how the names of folders begin that stand beside `folder` while it is written."""
    return f".{folder.name}-"


def read_steadily(folder: Path, read: Callable[[Path], Result]) -> Result:
    """Return `read(folder)` of one state of the folder: read again when it was replaced meanwhile.

    What `read` says, or the ModelError or OSError that it raises, counts when the folder stayed as it was. A missing
    one is given a second where another one is being written to take its place.
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
    return found.st_dev, found.st_ino, found.st_ctime_ns  # the number of a removed folder is given to another one


def _is_being_written(folder: Path) -> bool:
    return any(folder.parent.glob(f"{scratch_prefix(folder)}*"))
