"""Where outputs go: a folder of this machine (or NFS), or any fsspec URL.

An output is staged first, under a name that nobody reads, and placed later: renamed on a file system, moved by
an object store. So whoever finds a file under its final name finds all of it.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from wavemill.errors import OutputError, StorageUnavailableError, UsageError

_PERMANENT_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST}
)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A whole output that nobody sees yet; `place` puts it at `path`, `discard` removes it from wherever it is."""

    path: str
    place: Callable[[], None]
    discard: Callable[[], None]


class OutputStore(Protocol):
    """A root below which outputs are written."""

    is_local: bool  # writing takes a core, rather than an answer from far away

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` aside; `token` tells this attempt's staging from every other's."""

    def clear_staging(self) -> None:
        """Remove what attempts that died have staged."""

    def remove(self, relative_path: str) -> None:
        """Remove an output, if it is there."""


_STAGING = ".staging"


def _staging_name(relative_path: str, token: str) -> str:
    # A digest, because both names together may be longer than a file's name can be.
    return f"{_STAGING}/{hashlib.sha256(f'{token}/{relative_path}'.encode()).hexdigest()}"


class FolderStore:
    """Outputs in a folder; staged beside each other in `.staging`, on the same file system."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / _STAGING
        self._made: set[Path] = set()

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` to a file of its own below `.staging`."""
        final, placed = self._root / relative_path, False
        staged = self._root / _staging_name(relative_path, token)
        with _translated(final):
            self._with_folders(lambda: _write(staged, data), self._staging, final.parent)

        def place() -> None:
            nonlocal placed
            # Called again when the transaction around it has failed: then the file is where it belongs already.
            with _translated(final):
                try:
                    staged.replace(final)
                except FileNotFoundError:
                    if staged.exists() or not final.exists():
                        self._with_folders(lambda: staged.replace(final), final.parent)
            placed = True

        def discard() -> None:
            with suppress(OSError):  # another error is being reported already
                (final if placed else staged).unlink(missing_ok=True)

        return Staged(path=str(final), place=place, discard=discard)

    def clear_staging(self) -> None:
        """Remove `.staging`; one who still stages there has lost the lease, or finds a clear error."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._made.discard(self._staging)

    def remove(self, relative_path: str) -> None:
        """Remove a file, if it is there."""
        (self._root / relative_path).unlink(missing_ok=True)

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
    """Outputs in an object store: put whole below `.staging`, outside any transaction, then moved by the store itself.

    The move takes the time of a request or two, where the bytes would take as long as the network is slow.
    """

    is_local = False

    def __init__(self, root: str) -> None:
        try:
            self._file_system, inner = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError, TypeError) as exc:
            raise OutputError(f"cannot write to {root}: {exc}") from exc
        self._url, self._root = root.rstrip("/"), inner.rstrip("/")

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Put `data` under a key of its own below `.staging`."""
        url, final = f"{self._url}/{relative_path}", f"{self._root}/{relative_path}"
        staged, placed = f"{self._root}/{_staging_name(relative_path, token)}", False
        with _translated(url):
            self._make_parent(staged)
            self._file_system.pipe_file(staged, data)

        def place() -> None:
            nonlocal placed
            if placed:  # called again when the transaction around it has failed
                return
            with _translated(url):
                self._make_parent(final)
                self._file_system.mv(staged, final)
            placed = True

        def discard() -> None:
            with suppress(Exception):  # another error is being reported already
                self._file_system.rm_file(final if placed else staged)

        return Staged(path=url, place=place, discard=discard)

    def clear_staging(self) -> None:
        """Remove what was put below `.staging`."""
        with suppress(Exception):  # nothing there, or no answer: it is in nobody's way
            self._file_system.rm(f"{self._root}/{_STAGING}", recursive=True)

    def _make_parent(self, path: str) -> None:
        self._file_system.makedirs(path.rpartition("/")[0], exist_ok=True)  # does nothing where there are no folders

    def remove(self, relative_path: str) -> None:
        """Remove an object, if it is there."""
        with suppress(FileNotFoundError):
            self._file_system.rm_file(f"{self._root.rstrip('/')}/{relative_path}")


def open_store(root: str) -> OutputStore:
    """Return the store for a folder's path or an fsspec URL such as `s3://bucket/prefix`."""
    if root.startswith("file://"):
        return FolderStore(Path(root.removeprefix("file://")))
    if is_url(root):
        return UrlStore(root)
    return FolderStore(Path(root))


def batch_root(output: str, batch_id: str) -> str:
    """Return where a batch's outputs go, below what was asked for as its output."""
    return f"{output.rstrip('/')}/{batch_id}"


def is_url(location: str) -> bool:
    """Tell `s3://bucket/prefix` from a path."""
    return "://" in location


def require_known_scheme(url: str) -> None:
    """Raise UsageError for a URL of a kind that fsspec does not know; the library for it may be missing here."""
    scheme = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        return  # only the workers need it
    except ValueError as exc:
        raise UsageError(f"{url}: {scheme}:// is no storage that fsspec knows: {exc}") from exc


def absolute(location: str) -> str:
    """Return a path as workers in other folders see it; a URL as it is."""
    return location if is_url(location) else str(Path(location).resolve())


def names_below(root: str, suffix: str) -> Iterator[str]:
    """Yield the files below a folder or URL that end in `suffix`, sorted, relative to it and without the suffix.

    Raises
    ------
    UsageError
        There is no such folder, or it cannot be listed.
    """
    try:
        file_system, inner = file_system_of(root)
        found = sorted(file_system.find(inner))
    except Exception as exc:  # stores raise errors of their own kinds
        raise UsageError(f"cannot list {root}: {exc}") from exc
    inner = inner.rstrip("/") + "/"
    names = [path.removeprefix(inner).removesuffix(suffix) for path in found if path.endswith(suffix)]
    if not names:
        raise UsageError(f"there is no {suffix} file below {root}")
    yield from names


def file_system_of(location: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URL, and the path within it."""
    if is_url(location):
        system, inner = fsspec.core.url_to_fs(location)
        return system, inner
    return LocalFileSystem(), str(Path(location).resolve())  # not parsed: "::" means something in a URL only


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
