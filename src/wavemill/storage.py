"""Where outputs go: a folder of this machine (or NFS), or any fsspec URL.

An output is staged first, under a name that nobody reads, and placed later: renamed on a file system, put as a whole
on an object store. So whoever finds a file under its final name finds all of it.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import fsspec

from wavemill.errors import OutputError, StorageUnavailableError

_PERMANENT_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST}
)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A whole output that nobody sees yet; `place` puts it at `path`."""

    path: str
    place: Callable[[], None]


class OutputStore(Protocol):
    """A root below which outputs are written."""

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` aside; `token` tells this attempt's staging from every other's."""

    def clear_staging(self) -> None:
        """Remove what attempts that died have staged."""


class FolderStore:
    """Outputs in a folder; staged beside each other in `.staging`, on the same file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / ".staging"
        self._made: set[Path] = set()

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` to a file of its own below `.staging`."""
        final = self._root / relative_path
        # A digest, because both names together may be longer than a file's name can be.
        staged = self._staging / hashlib.sha256(f"{token}/{relative_path}".encode()).hexdigest()
        with _translated(final):
            self._with_folders(lambda: _write(staged, data), self._staging, final.parent)

        def place() -> None:
            # Called again when the transaction around it has failed: then the file is where it belongs already.
            with _translated(final):
                if staged.exists() or not final.exists():
                    self._with_folders(lambda: staged.replace(final), final.parent)

        return Staged(path=str(final), place=place)

    def clear_staging(self) -> None:
        """Remove `.staging`; one who still stages there has lost the lease, or finds a clear error."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._made.discard(self._staging)

    def _with_folders(self, action: Callable[[], object], *folders: Path) -> None:
        """Do what needs these folders; once more where another process has removed one since it was made."""
        self._make(*folders)
        try:
            action()
        except FileNotFoundError:
            self._made.difference_update(folders)
            self._make(*folders)
            action()

    def _make(self, *folders: Path) -> None:
        for folder in folders:
            if folder not in self._made:
                folder.mkdir(parents=True, exist_ok=True)
                self._made.add(folder)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError:
        path.unlink(missing_ok=True)  # on a full disk, half a file is in everybody's way
        raise


class UrlStore:
    """Outputs in an object store; put whole, at the end."""

    def __init__(self, root: str) -> None:
        try:
            self._file_system, self._root = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError, TypeError) as exc:
            raise OutputError(f"cannot write to {root}: {exc}") from exc
        self._url = root.rstrip("/")

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:  # noqa: ARG002  puts are atomic
        """Keep `data` until it is placed."""
        url = f"{self._url}/{relative_path}"

        def place() -> None:
            with _translated(url):
                self._file_system.pipe_file(f"{self._root.rstrip('/')}/{relative_path}", data)

        return Staged(path=url, place=place)

    def clear_staging(self) -> None:
        """Do nothing: nothing is staged outside this process."""


def open_store(root: str) -> OutputStore:
    """Return the store for a folder's path or an fsspec URL such as `s3://bucket/prefix`."""
    if root.startswith("file://"):
        return FolderStore(Path(root.removeprefix("file://")))
    if is_url(root):
        return UrlStore(root)
    return FolderStore(Path(root))


def is_url(location: str) -> bool:
    """Tell `s3://bucket/prefix` from a path."""
    return "://" in location


@contextmanager
def _translated(path: object) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _PERMANENT_ERRNOS:
            raise OutputError(f"cannot write {path}: {exc.strerror}; choose another --output or mend it") from exc
        raise StorageUnavailableError(f"cannot write {path} now: {exc.strerror or exc}") from exc
    except Exception as exc:  # object stores raise errors of their own kinds; none says that trying again is in vain
        raise StorageUnavailableError(f"cannot write {path} now: {exc}") from exc
