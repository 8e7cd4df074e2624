"""Opens a dataset's files, and no files outside its folder. Imports only the standard library."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from wavemill.dataset.manifest import SPECTROGRAMS_NAME
from wavemill.files.bounded import FLAGS, NotAFileError, size_of
from wavemill.storage.errors import require_there

_FOLDERS_REMEMBERED = 4_096


class OutsideDatasetError(Exception):
    """A path leads out of the dataset's folder."""


class DatasetFiles:
    """The files below one folder.

    Each folder is resolved and checked once, and the result is remembered. Resolving the folder for
    every file took 20 times as long as opening the file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside = lru_cache(maxsize=_FOLDERS_REMEMBERED)(self._resolve)

    @contextmanager
    def opened(self, file: str) -> Iterator[int]:
        """Open a regular file, given relative to the dataset's folder; yield its descriptor.

        Raises
        ------
        OutsideDatasetError, NotAFileError, OSError
            Also RuntimeError for a loop of symbolic links, and ValueError for a name that no file
            can have.
        """
        descriptor = self._open(file)
        try:
            size_of(descriptor)  # raises unless it is a regular file
            yield descriptor
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Forget resolved folders: another disk may be mounted there now."""
        self._inside.cache_clear()

    def _open(self, file: str) -> int:
        parent, _, name = file.rpartition("/")
        try:
            # Don't follow a symbolic link at the end yet: it is checked below.
            return os.open(f"{self._inside(parent)}/{name}", FLAGS | os.O_NOFOLLOW)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a socket
                raise NotAFileError from exc
            if exc.errno != errno.ELOOP:
                raise
        return os.open(self._resolve(file), FLAGS)  # follows a link that leads inside the folder

    def _resolve(self, relative: str) -> str:
        # Strict, so that a missing folder is not remembered: it may come back as a link to another
        # place.
        path = (self._folder / relative).resolve(strict=True)
        if not path.is_relative_to(self._folder.resolve(strict=True)):
            raise OutsideDatasetError
        return str(path)


def require_dataset_there(folder: Path) -> None:
    """Raise StorageUnavailableError if a dataset's folders are missing, as when unmounted."""
    require_there(folder, "the dataset")
    require_there(folder / SPECTROGRAMS_NAME, "the dataset's folder")
