"""Sets aside the embedded broker's data files when no server can be started with them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

LOCK = "lock"

_PREFIX = "damaged-"
_MAX_KEPT = 3  # sets of damaged files


def has_data(folder: Path) -> bool:
    """Whether the folder holds data that a server would load."""
    return (folder / "appendonlydir").exists()


def set_aside(folder: Path) -> dict[Path, Path]:
    """Rename all files of a stopped server; return a mapping of new to old names.

    They stay in their folder: a file that belongs to another user could not be moved out of it.
    """
    stamp = f"{_PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-"
    moved = {}
    for file in sorted(folder.iterdir()):
        if file.name != LOCK and not file.name.startswith(_PREFIX):
            moved[file.rename(folder / f"{stamp}{file.name}")] = file
    return moved


def put_back(folder: Path, moved: dict[Path, Path]) -> None:
    """Undo `set_aside`."""
    for file in folder.iterdir():
        if file.name != LOCK and not file.name.startswith(_PREFIX):
            _remove(file)
    for new, old in moved.items():
        new.rename(old)


def prune(folder: Path) -> None:
    """Remove all but the newest sets of files that were set aside."""
    stamped = {file: file.name.removeprefix(_PREFIX)[:22] for file in folder.glob(f"{_PREFIX}*")}
    kept = sorted(set(stamped.values()))[-_MAX_KEPT:]
    for file, stamp in stamped.items():
        if stamp not in kept:
            _remove(file)


def _remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    else:
        file.unlink(missing_ok=True)
