"""Faults from below, as the operating system deals them, in worker processes that know nothing of it.

A `sitecustomize` on the workers' PYTHONPATH, a copy of `support/machine.py`, listens to Python's own audit events of
every `open`, `rename` and `link`, and notes what is put into its place.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def faults(
    folder: Path,
    *,
    poison: str = "",
    full_while: Path | None = None,
    slow_while: Path | None = None,
    placed: Path | None = None,
    freeze: Path | None = None,
    table_clock: Path | None = None,
) -> dict[str, str]:
    """Return the environment of workers whose machine is at fault.

    Parameters
    ----------
    folder : one that goes on their PYTHONPATH
    poison : they die when they open a file whose name begins so
    full_while, slow_while : the disk, as outputs see it, is full, or slow, as long as this file exists
    placed : folder in which each process writes its birth, and which output it has put to its place, as JSON lines
    freeze : while this file exists, one process stops itself (SIGSTOP) before its n-th placement, n standing in the
        file, and renames it to `freeze.PID`
    table_clock : SQLite's clock, as they see it, is ahead by the seconds that stand in this file
    """
    shutil.copy(Path(__file__).with_name("machine.py"), folder / "sitecustomize.py")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    given = {
        "FULL_WHILE": full_while,
        "SLOW_WHILE": slow_while,
        "PLACED": placed,
        "FREEZE": freeze,
        "TABLE_CLOCK": table_clock,
    }
    return {"PYTHONPATH": path, "POISON": poison, **{name: str(value or "") for name, value in given.items()}}
