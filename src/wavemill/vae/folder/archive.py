"""Read the arrays of an .npz file safely: sizes are checked before memory is allocated."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.dataset.headers import read_header
from wavemill.files.bounded import FLAGS, NotAFileError, size_of

Shapes = Mapping[str, tuple[int, ...]]

_MOST_READ_BYTES = 2**20  # in one call; zipfile reads the archive's directory in one call
_CHUNK_BYTES = 2**18
_HEADER_BYTES = 2**16  # upper limit for the header of one array
_MOST_ITEM_BYTES = 8
_FREE_BYTES = 2**26  # any archive may unpack to this much, however small its file
# Above `_FREE_BYTES`, the most that content may exceed the file size. Trained weights hardly
# compress.
_MOST_RATIO = 16


class MisfitError(ValueError):
    """The arrays are not those that were expected."""


class _BoundedFile(io.FileIO):
    """A file that refuses single reads larger than a genuine archive needs."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        n_bytes = left if size is None or size < 0 else min(size, left)
        if n_bytes > _MOST_READ_BYTES:
            raise ValueError("its directory is too large")
        return super().read(n_bytes) or b""


def declared_bytes(file: Path, *, most_bytes: int) -> int:
    """Return the unpacked size of an .npz in bytes, with headers; raises as `read_archive` does."""
    with _opened(file, most_bytes) as archive:
        return sum(info.file_size for info in archive.infolist())


def read_archive(file: Path, *, most_bytes: int, shapes: Shapes | None = None) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz. Pickles are never loaded.

    Parameters
    ----------
    most_bytes : upper limit for the file, and for all its arrays together
    shapes : the name and shape of every array that must be there, and no others; None accepts any

    Raises
    ------
    MisfitError
        When the arrays differ from `shapes`; nothing larger than expected is read.
    ValueError
        When the file is damaged, holds anything but numbers, or unpacks to much more than its size.
    OSError
        When the file cannot be read.
    """
    with _opened(file, most_bytes) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise ValueError("it holds two arrays of one name")
        if shapes is not None and (odd := sorted(set(members) ^ set(shapes))):
            raise MisfitError(", ".join(name[:80] for name in odd[:4]))
        return {
            name: _read_member(archive, info, name, None if shapes is None else shapes[name])
            for name, info in members.items()
        }


@contextmanager
def _opened(file: Path, most_bytes: int) -> Iterator[zipfile.ZipFile]:
    descriptor = os.open(file, FLAGS)
    try:
        n_bytes = size_of(descriptor)
        _require_at_most(n_bytes, most_bytes, "a file")
        with _BoundedFile(descriptor, closefd=False) as stream, zipfile.ZipFile(stream) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            _require_at_most(unpacked, min(most_bytes, max(_FREE_BYTES, _MOST_RATIO * n_bytes)), "arrays")
            yield archive
    except NotAFileError as exc:
        raise ValueError("it is no file") from exc
    except (OSError, ValueError):
        raise
    except Exception as exc:  # a forged archive can raise nearly anything
        raise ValueError(str(exc) or type(exc).__name__) from exc
    finally:
        os.close(descriptor)


def _require_at_most(n_bytes: int, most_bytes: int, what: str) -> None:
    if n_bytes > most_bytes:
        raise ValueError(f"expected {what} of at most {most_bytes} bytes, received {n_bytes}")


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, expected: tuple[int, ...] | None
) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name[:80]} is compressed in another way than NumPy does")
    with archive.open(info) as member:
        head = io.BytesIO(member.read(_HEADER_BYTES))
        shape, fortran_order, dtype = read_header(head)
        if expected is not None and shape != expected:
            raise MisfitError(f"weight {name}: expected shape {expected}, received {str(shape)[:80]}")
        if dtype.kind not in "fiu" or dtype.itemsize > _MOST_ITEM_BYTES:
            raise ValueError(f"{name[:80]}: expected numbers, received {str(dtype)[:80]}")
        if math.prod(shape) * dtype.itemsize != info.file_size - head.tell():
            raise ValueError(f"{name[:80]}: its shape {str(shape)[:80]} is not of its size")
        data = np.empty(info.file_size - head.tell(), np.uint8)
        _fill(data, head.read(), member)
    return data.view(dtype).reshape(shape, order="F" if fortran_order else "C")


def _fill(target: NDArray[np.uint8], first: bytes, rest: Any) -> None:
    target[: len(first)] = np.frombuffer(first, np.uint8)
    start = len(first)
    while start < len(target):
        chunk = rest.read(min(_CHUNK_BYTES, len(target) - start))
        if not chunk:
            raise ValueError("it ends too early")
        target[start : start + len(chunk)] = np.frombuffer(chunk, np.uint8)
        start += len(chunk)
    rest.read(1)  # zipfile compares the checksum when it reaches the end
