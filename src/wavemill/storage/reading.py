"""Reads and removes the outputs of jobs, in a folder or an object store, and nothing beside them.

A job's row holds the path of each output. Whoever can write to the output folder could put a link
there that leads elsewhere, so links below the folder are not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from wavemill.errors import NotFoundError, OutputError, StorageUnavailableError, WavemillError
from wavemill.storage.errors import classified, is_missing
from wavemill.storage.locations import file_system_of, is_remote


@contextmanager
def open_output(path: str, *, output: str, batch_id: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open an output for reading; yield the file, in which the caller may seek, and its size in bytes.

    Parameters
    ----------
    path : str
        The output's path or URL, as its job's row holds it.
    output, batch_id : str
        The folder or URL below which the job's batch writes, and the batch, whose folder lies there.

    Raises
    ------
    NotFoundError
        There is no such file in the batch's folder, or a link stands where it should be.
    StorageUnavailableError
        The storage does not answer.
    """
    root, name = _placed(path, output, batch_id)
    try:
        file, size = _open_object(path) if is_remote(root) else _open_file(Path(root or "/"), name)
    except WavemillError:
        raise
    except Exception as exc:
        if is_missing(exc):
            raise NotFoundError("the file of this output is gone") from exc
        raise classified("cannot read this output", exc, permanent=NotFoundError) from exc
    with file:
        yield file, size


def remove_output(path: str, *, output: str, batch_id: str) -> None:
    """Remove an output, unless it is gone already; arguments and errors are those of `open_output`."""
    root, name = _placed(path, output, batch_id)
    try:
        if is_remote(root):
            system, inner = file_system_of(path)
            system.rm_file(inner)
        else:
            with folder_of(Path(root or "/"), name) as (folder, last):
                os.unlink(last, dir_fd=folder)
    except WavemillError:
        raise
    except Exception as exc:
        if not is_missing(exc):
            raise classified(f"cannot remove {path}", exc, permanent=OutputError) from exc


def _placed(path: str, output: str, batch_id: str) -> tuple[str, str]:
    """Return the root of a batch's outputs, and the name of one below it; NotFoundError if it lies elsewhere."""
    root = output.removeprefix("file://").rstrip("/")
    name = path.removeprefix("file://").removeprefix(f"{root}/")
    if not name.startswith(f"{batch_id}/") or not _is_below(name):
        raise NotFoundError("this output does not lie in its batch's folder")
    return root, name


def _is_below(name: str) -> bool:
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name and "\\" not in name


def _open_file(root: Path, name: str) -> tuple[IO[bytes], int]:
    with folder_of(root, name) as (folder, last):
        found = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    about = os.fstat(found)
    if not stat.S_ISREG(about.st_mode):
        os.close(found)
        raise NotFoundError("this output is no file")
    return os.fdopen(found, "rb"), about.st_size


@contextmanager
def folder_of(root: Path, name: str) -> Iterator[tuple[int, str]]:
    """Open the folder of a file, one part of its path after the other, and follow no link on the way.

    Yields the folder's descriptor, and the last part of the path.
    """
    if not root.is_dir():
        raise StorageUnavailableError(f"the output folder {root} is not there")
    *folders, last = PurePosixPath(name).parts
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        yield here, last
    finally:
        os.close(here)


def _open_object(url: str) -> tuple[IO[bytes], int]:
    system, inner = file_system_of(url)
    size = int(system.info(inner)["size"])
    file: Any = system.open(inner, "rb")
    return file, size
