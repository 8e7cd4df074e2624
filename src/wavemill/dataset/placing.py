"""Writes a file into a dataset's folder, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavemill.dataset.manifest import SCRATCH_NAME
from wavemill.errors import StorageUnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def place(dataset_dir: Path, file: str, data: bytes | memoryview) -> None:
    """Write `file`, given relative to the dataset's folder; raises as `placing`."""
    with placing(dataset_dir, file) as temporary:
        temporary.write_bytes(data)


@contextmanager
def placing(dataset_dir: Path, file: str) -> Iterator[Path]:
    """Yield a path to write to, and rename it to `file` at the end.

    Raises
    ------
    StorageUnavailableError
        The disk is full, so that the next file could not be written either.
    OSError
        Another error, such as a folder with the file's name.
    """
    temporary = dataset_dir / SCRATCH_NAME / f"{os.getpid()}.npy"  # each process writes one at a time
    target = dataset_dir / file
    try:
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
    except OSError as exc:
        if exc.errno in _FULL:
            raise StorageUnavailableError(f"{dataset_dir}: {exc.strerror}; free some space and run again") from exc
        raise
