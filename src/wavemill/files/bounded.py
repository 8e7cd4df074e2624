"""Reads files from untrusted sources, with a limit on their size. Does not import NumPy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# O_NONBLOCK, because a plain `open` of a named pipe would wait for a writer.
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class NotAFileError(Exception):
    """The path is a folder, pipe, socket or device instead of a file."""


class TooLargeError(Exception):
    """A file is larger than any valid one."""

    def __init__(self, n_bytes: int, most_bytes: int) -> None:
        super().__init__(f"expected at most {most_bytes} bytes, received {n_bytes}")


def read_file(path: Path, *, most_bytes: int) -> bytes:
    """Read a whole file.

    Raises
    ------
    TooLargeError, NotAFileError, OSError
        Also ValueError for a name that no file can have.
    """
    descriptor = os.open(path, FLAGS)
    try:
        return read_opened(descriptor, most_bytes=most_bytes)
    finally:
        os.close(descriptor)


def read_opened(descriptor: int, *, most_bytes: int) -> bytes:
    """Read a whole open file; raises as `read_file`."""
    n_bytes = size_of(descriptor)
    if n_bytes > most_bytes:
        raise TooLargeError(n_bytes, most_bytes)
    with os.fdopen(descriptor, "rb", 0, closefd=False) as file:
        return file.read()


def size_of(descriptor: int) -> int:
    """Return the size of an open regular file; NotAFileError for anything else."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError
    return found.st_size
