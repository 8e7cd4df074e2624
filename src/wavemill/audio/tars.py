"""Reads members of tar files in place, as of WebDataset's shards: `shard.tar/key.wav` is the member `key.wav`."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

SUFFIX = ".tar"
_MOST_HEADER = 2**20  # bytes; of a header that gives a long name


@dataclass(kw_only=True)
class TarIndex:
    """Where the members of a tar file lie in it."""

    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> position and size, in bytes
    problems: list[tuple[str, str]] = field(default_factory=list)  # a name, and why this member is not used
    damage: str | None = None  # what stopped the listing before the end


def is_tar(path: Path) -> bool:
    """Return whether a path is that of a tar file, by its suffix."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def index_of(path: Path) -> TarIndex:
    """List a tar file; reads only its headers. Raises OSError if it cannot be read."""
    status = path.stat()
    return _index(path, status.st_size, status.st_mtime_ns)


def tar_above(path: Path) -> tuple[Path, str] | None:
    """Return the tar file that a path leads into, and the name of the member there; None without one."""
    if f"{SUFFIX}/" not in path.as_posix().lower():
        return None
    tar = next((parent for parent in path.parents if is_tar(parent)), None)
    return None if tar is None else (tar, path.relative_to(tar).as_posix())


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or a member of a tar file, for reading; raises OSError."""
    if (inside := tar_above(path)) is None:
        with path.open("rb") as file:
            yield file
        return
    tar, name = inside
    place = index_of(tar).places.get(name)
    if place is None:
        raise FileNotFoundError(f"{tar.name} has no member {name}")
    with tar.open("rb") as file, _Member(file, *place) as member:
        yield member  # type: ignore[misc]  # a RawIOBase reads as a BinaryIO


class _Member(io.RawIOBase):
    """A piece of a file."""

    def __init__(self, file: BinaryIO, start: int, n_bytes: int) -> None:
        self._file, self._start, self._n_bytes, self._position = file, start, n_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._n_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._n_bytes - self._position))
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Headers(io.FileIO):
    """A tar file of which tarfile reads headers: it gets none that claims to be huge, or to lie after the end."""

    def __init__(self, path: Path, n_bytes: int) -> None:
        super().__init__(path)
        self._n_bytes = n_bytes

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if offset > self._n_bytes:
            raise tarfile.ReadError("its last member is cut off")
        return super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of more than {_MOST_HEADER} bytes")
        return super().read(size) or b""


@lru_cache(maxsize=2)  # recordings come in the order of their names, so nearly always from the same file
def _index(path: Path, n_bytes: int, _mtime_ns: int) -> TarIndex:
    found = TarIndex()
    try:
        with _Headers(path, n_bytes) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                _add(found, member, n_bytes)
            file.seek(tar.offset)  # tarfile ends without a word at a damaged header
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                found.damage = "its end is missing, or a header is damaged"
    except (tarfile.TarError, ValueError, RecursionError, OverflowError) as exc:
        found.damage = str(exc)
    return found


def _add(found: TarIndex, member: tarfile.TarInfo, n_bytes: int) -> None:
    if member.size < 0:  # tarfile would go back, and read the same headers for ever
        raise tarfile.ReadError("a member has a negative size")
    if member.isdir():
        return
    name = PurePosixPath(member.name)
    if problem := _problem(member, name, n_bytes):
        found.problems.append((member.name, problem))
    else:
        found.places[str(name)] = member.offset_data, member.size


def _problem(member: tarfile.TarInfo, name: PurePosixPath, n_bytes: int) -> str | None:
    if name.is_absolute() or os.pardir in name.parts or not name.parts:
        return "has a name that leads out of the tar file"
    if not member.isreg() or member.sparse is not None:
        return "is a link, a device or a sparse file, which is not read from a tar file"
    if member.offset_data + member.size > n_bytes:
        return "is cut off: the tar file ends before"
    return None
