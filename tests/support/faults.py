"""Faults from below, as the operating system deals them, in worker processes that know nothing of it.

A `sitecustomize` on the workers' PYTHONPATH listens to Python's own audit event of every `open`.
"""

from __future__ import annotations

import os
from pathlib import Path

_SCRIPT = """
import errno, os, signal, sys

def listen(event, arguments):
    if event != "open" or not isinstance(arguments[0], str):
        return
    if os.path.basename(arguments[0]) == os.environ.get("POISON"):
        os.kill(os.getpid(), signal.SIGKILL)
    full = os.environ.get("FULL_WHILE")
    if full and "/.staging/" in arguments[0] and os.path.exists(full):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

sys.addaudithook(listen)
"""


def faults(folder: Path, *, poison: str = "", full_while: Path | None = None) -> dict[str, str]:
    """Return the environment of workers that die when they open a file called `poison`, and whose disk is full.

    The disk, as outputs see it, is full as long as the file `full_while` exists.
    """
    (folder / "sitecustomize.py").write_text(_SCRIPT)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "POISON": poison, "FULL_WHILE": str(full_while or "")}
