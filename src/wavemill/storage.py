"""Where outputs go: a folder of this machine (or NFS), or any fsspec URL.

An output is staged first, under a name that nobody reads, and placed later: renamed on a file system, moved by
an object store. So whoever finds a file under its final name finds all of it. Staged names tell the job and its fence,
so that a later claim can take away what an earlier one would still place.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from wavemill.errors import OutputError, StorageUnavailableError, UsageError
from wavemill.places import expanded
from wavemill.storage_errors import is_missing, translated

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_STAGING = ".staging"
_TRASH, _ENDED = "trash-", "ended-"  # folders of removals
Remove = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A whole output that nobody sees yet; `place` puts it at `path`, `discard` removes it where it is still staged."""

    path: str
    place: Callable[[], None]
    discard: Callable[[], None]


class OutputStore(Protocol):
    """A root below which outputs are written."""

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` aside; `token` is JOB.FENCE.KIND and tells this staging from every other."""

    def supersede(self, job_id: int, fence: int) -> None:
        """Take away what claims of a job with a lower fence have staged, and end removals that are under way."""

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove what attempts that died have staged; `strict` raises what keeps it from being removed."""

    def removing(self) -> AbstractContextManager[Remove]:
        """Yield a function that removes an output, if it is there, until a later claim supersedes."""

    def remove_empty_folders(self) -> None:
        """Remove the root and folders below it that hold nothing."""


class JobOutputs:
    """The outputs of one claim of one job, staged and placed together.

    `place` may be called again; it first takes away what earlier claims of the job have staged. A process that lost
    the job while it slept therefore finds nothing that it could put in the place of a finished output.
    """

    def __init__(self, store: OutputStore, *, job_id: int, fence: int) -> None:
        self._store = store
        self._job_id = job_id
        self._fence = fence
        self._staged: list[Staged] = []

    def stage(self, kind: str, relative_path: str, data: bytes) -> str:
        """Write an output aside and return its final path; on an error nothing of this claim stays staged."""
        try:
            staged = self._store.stage(relative_path, data, token=f"{self._job_id}.{self._fence}.{kind}")
        except Exception:
            self.discard()
            raise
        self._staged.append(staged)
        return staged.path

    def place(self) -> None:
        """Put all outputs where they belong."""
        if self._fence > 1:
            self._store.supersede(self._job_id, self._fence)
        for staged in self._staged:
            staged.place()

    def discard(self) -> None:
        """Remove what is still staged; never what was placed, which may be another claim's by now."""
        for staged in self._staged:
            staged.discard()


class FolderStore:
    """Outputs in a folder; staged beside each other in `.staging`, on the same file system.

    Parameters
    ----------
    must_exist : bool
        Outputs were written below the root before: where it is gone, it is not made anew but waited for.
    """

    def __init__(self, root: Path, *, must_exist: bool = False) -> None:
        self._root = root
        self._staging = root / _STAGING
        self._must_exist = must_exist
        self._made: set[Path] = set()
        self._root_lock = threading.Lock()  # several threads may write the first outputs of a batch

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Write `data` to a file of its own below `.staging`."""
        final, placed = self._root / relative_path, False
        staged = self._staging / token
        with translated(final):
            self._with_folders(lambda: _write(staged, data), self._staging, final.parent)

        def place() -> None:
            nonlocal placed
            if placed:
                return
            with translated(final):
                try:
                    staged.replace(final)
                except FileNotFoundError:
                    if not staged.exists():
                        raise _taken_away(final) from None
                    self._with_folders(lambda: staged.replace(final), final.parent)
            placed = True

        def discard() -> None:
            if not placed:
                with suppress(OSError):  # another error is being reported already
                    staged.unlink(missing_ok=True)

        return Staged(path=str(final), place=place, discard=discard)

    def supersede(self, job_id: int, fence: int) -> None:
        """Unlink what lower fences have staged: a rename that is still to come finds no source."""
        with translated(self._staging), suppress(FileNotFoundError):
            for path in self._staging.iterdir():
                if path.name.startswith(_TRASH):
                    # Renamed first: nothing can be moved into it any more, however late a removal wakes.
                    ended = path.with_name(f"{_ENDED}{secrets.token_hex(8)}")
                    with suppress(FileNotFoundError):
                        path.rename(ended)
                        shutil.rmtree(ended, ignore_errors=True)
                elif _is_older(path.name, job_id, fence):
                    path.unlink(missing_ok=True)

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove `.staging`; a worker still staging here has lost its jobs, or renders them once more."""
        if strict:
            self._require_old_root()
        with translated(self._staging, verb="remove") if strict else suppress(OSError), suppress(FileNotFoundError):
            shutil.rmtree(self._staging)
        self._made.discard(self._staging)

    @contextmanager
    def removing(self) -> Iterator[Remove]:
        """Yield a function that moves an output into a folder of this removal, which is deleted in the end.

        A claim that supersedes deletes that folder too: a removal that was asleep then finds nowhere to move to.
        """
        self._require_old_root()
        if not self._root.is_dir():
            yield lambda _: None
            return
        trash = self._staging / f"{_TRASH}{secrets.token_hex(8)}"
        trash.mkdir(parents=True)

        def remove(relative_path: str) -> None:
            path = self._root / relative_path
            if path.is_file():  # a folder in its place is somebody else's
                with suppress(FileNotFoundError):
                    path.rename(trash / secrets.token_hex(8))

        try:
            yield remove
        finally:
            shutil.rmtree(trash, ignore_errors=True)
            with suppress(OSError):
                self._staging.rmdir()
                self._made.discard(self._staging)

    def remove_empty_folders(self) -> None:
        """Remove folders without files, the deepest first, and the root if nothing is left in it."""
        for folder, _, _ in os.walk(self._root, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        self._made.clear()

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
                with self._root_lock:
                    self._require_root()
                folder.mkdir(parents=True, exist_ok=True)
                self._made.add(folder)

    def _require_root(self) -> None:
        self._require_old_root()
        self._root.mkdir(parents=True, exist_ok=True)
        self._must_exist = True

    def _require_old_root(self) -> None:
        if self._must_exist and not self._root.is_dir():
            raise StorageUnavailableError(
                f"{self._root} is gone, and outputs were in it: is its disk mounted? Workers wait for it; "
                "if it was deleted, cancel the batch"
            )


def _taken_away(final: object) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"what was staged for {final} is gone: the job was taken over, or its staging cleared"
    )


def _is_older(name: str, job_id: int, fence: int) -> bool:
    owner, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return owner == str(job_id) and number.isdecimal() and int(number) < fence


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError:
        path.unlink(missing_ok=True)  # on a full disk, half a file is in everybody's way
        raise


class UrlStore:
    """Outputs in an object store: put whole below `.staging`, then moved by the store itself.

    The move takes the time of a request or two, where the bytes would take as long as the network is slow. A move
    whose source was taken away fails in the store, as a rename does.
    """

    def __init__(self, root: str) -> None:
        try:
            self._file_system, inner = file_system_of(root)
        except (ImportError, ValueError, TypeError) as exc:
            raise OutputError(f"cannot write to {root}: {exc}") from exc
        self._url, self._root = root.rstrip("/"), inner.rstrip("/")

    def stage(self, relative_path: str, data: bytes, *, token: str) -> Staged:
        """Put `data` under a key of its own below `.staging`."""
        url, final = f"{self._url}/{relative_path}", f"{self._root}/{relative_path}"
        staged, placed = f"{self._root}/{_STAGING}/{token}", False
        with translated(url):
            self._make_parent(staged)
            self._file_system.pipe_file(staged, data)

        def place() -> None:
            nonlocal placed
            if placed:
                return
            with translated(url):
                self._make_parent(final)
                try:
                    self._file_system.mv(staged, final)
                except Exception as exc:
                    if not is_missing(exc) or self._file_system.exists(staged):
                        raise
                    raise _taken_away(url) from None
            placed = True

        def discard() -> None:
            if not placed:
                with suppress(Exception):  # another error is being reported already
                    self._file_system.rm_file(staged)

        return Staged(path=url, place=place, discard=discard)

    def supersede(self, job_id: int, fence: int) -> None:
        """Remove what lower fences have put below `.staging`."""
        with translated(self._url):
            try:
                staged = self._file_system.ls(f"{self._root}/{_STAGING}", detail=False, refresh=True)
            except FileNotFoundError:
                return
            for path in staged:
                if _is_older(path.rpartition("/")[2], job_id, fence):
                    with suppress(FileNotFoundError):
                        self._file_system.rm_file(path)

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove what was put below `.staging`."""
        with translated(self._url, verb="remove") if strict else suppress(Exception), suppress(FileNotFoundError):
            self._file_system.rm(f"{self._root}/{_STAGING}", recursive=True)

    @contextmanager
    def removing(self) -> Iterator[Remove]:
        """Yield a function that removes an object, if it is there."""

        def remove(relative_path: str) -> None:
            with suppress(FileNotFoundError):
                self._file_system.rm_file(f"{self._root}/{relative_path}")

        yield remove

    def remove_empty_folders(self) -> None:
        """Do nothing: object stores have no folders."""

    def _make_parent(self, path: str) -> None:
        self._file_system.makedirs(path.rpartition("/")[0], exist_ok=True)  # does nothing where there are no folders


def open_store(root: str, *, must_exist: bool = False) -> OutputStore:
    """Return the store for a folder's path or an fsspec URL such as `s3://bucket/prefix`; see `FolderStore`."""
    if is_remote(root):
        return UrlStore(root)
    return FolderStore(Path(root.removeprefix("file://")), must_exist=must_exist)


def batch_root(output: str, batch_id: str) -> str:
    """Return where a batch's outputs go, below what was asked for as its output."""
    return f"{output.rstrip('/')}/{batch_id}"


def is_url(location: str) -> bool:
    """Tell `s3://bucket/prefix` from a path."""
    return _URL.match(location) is not None


def is_remote(location: str) -> bool:
    """Whether writing there waits for answers from far away, rather than for a core."""
    return is_url(location) and not location.startswith("file://")


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
    return location if is_url(location) else str(expanded(location).resolve())


def names_below(root: str, suffix: str) -> Iterator[str]:
    """Yield the files below a folder or URL that end in `suffix`, sorted, relative to it and without the suffix.

    What macOS puts beside each file, `._NAME`, is left out.

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
    found = [path for path in found if path.endswith(suffix) and not path.rpartition("/")[2].startswith("._")]
    names = [path.removeprefix(inner).removesuffix(suffix) for path in found]
    if not names:
        raise UsageError(f"there is no {suffix} file below {root}")
    yield from names


def file_system_of(location: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URL, and the path within it.

    To fsspec, "::" chains file systems. To us it does so before a scheme only; elsewhere it belongs to a name.
    """
    if not is_url(location):
        return LocalFileSystem(), str(Path(location).resolve())
    if location.startswith("file://"):
        return LocalFileSystem(), location.removeprefix("file://")
    behind_schemes = location.rindex("://") + len("://")
    in_a_name = location.find("::", behind_schemes)
    if in_a_name < 0:
        system, inner = fsspec.core.url_to_fs(location)
        return system, inner
    end = max(location.rfind("/", 0, in_a_name), behind_schemes)
    system, inner = fsspec.core.url_to_fs(location[:end])
    return system, f"{inner.rstrip('/')}/{location[end:].lstrip('/')}"


def opened(location: str) -> IO[bytes]:
    """Open a file of a path or URL for reading."""
    system, inner = file_system_of(location)
    file: IO[bytes] = system.open(inner, "rb")
    return file
