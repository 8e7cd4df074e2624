"""Faults from below, as the operating system deals them, in worker processes that know nothing of it.

A `sitecustomize` on the workers' PYTHONPATH listens to Python's own audit events of every `open` and `rename`.
"""

from __future__ import annotations

import os
from pathlib import Path

_SCRIPT = """
import errno, os, signal, sys, time

poison = os.environ.get("POISON")
full, slow, placed = (os.environ.get(name) for name in ("FULL_WHILE", "SLOW_WHILE", "PLACED"))
log = os.open(f"{placed}/{os.getpid()}-{time.time_ns()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND) if placed else None

def listen(event, arguments):
    if event == "os.rename" and log is not None and "/.staging/" in str(arguments[0]):
        os.write(log, f"{time.time_ns()} {arguments[1]}\\n".encode())
    if event != "open" or not isinstance(arguments[0], str):
        return
    if poison and os.path.basename(arguments[0]).startswith(poison):
        os.kill(os.getpid(), signal.SIGKILL)
    if "/.staging/" in arguments[0]:
        if full and os.path.exists(full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])
        if slow and os.path.exists(slow):
            time.sleep(0.1)

sys.addaudithook(listen)
"""


def faults(
    folder: Path,
    *,
    poison: str = "",
    full_while: Path | None = None,
    slow_while: Path | None = None,
    placed: Path | None = None,
) -> dict[str, str]:
    """Return the environment of workers whose machine is at fault.

    Parameters
    ----------
    poison : they die when they open a file whose name begins so
    full_while, slow_while : the disk, as outputs see it, is full, or slow, as long as this file exists
    placed : folder in which they write down when they move which output to its place
    """
    (folder / "sitecustomize.py").write_text(_SCRIPT)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    given = {"FULL_WHILE": full_while, "SLOW_WHILE": slow_while, "PLACED": placed}
    return {"PYTHONPATH": path, "POISON": poison, **{name: str(value or "") for name, value in given.items()}}
