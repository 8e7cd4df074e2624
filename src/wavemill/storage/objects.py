"""`UrlStore`: outputs in an object store, or any other storage that fsspec has a URL for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wavemill.errors import OutputError
from wavemill.storage.errors import is_missing, translated
from wavemill.storage.locations import file_system_of
from wavemill.storage.staging import STAGING, Remove, Staged, is_older, taken_away


class UrlStore:
    """Writes outputs to an object store: uploads them below `.staging`; the store moves them later.

    A move takes one or two requests, however long the upload took. If its source is gone, the move
    fails, as a rename does.
    """

    def __init__(self, root: str) -> None:
        try:
            self._file_system, inner = file_system_of(root)
        except (ImportError, ValueError, TypeError) as exc:
            raise OutputError(f"cannot write to {root}: {exc}") from exc
        self._url, self._root = root.rstrip("/"), inner.rstrip("/")

    def scratch(self, token: str) -> Path:
        """Return a path in a new temporary folder of this machine."""
        return Path(tempfile.mkdtemp(prefix="wavemill-")) / token

    def stage(self, relative_path: str, data: bytes | Path, *, token: str) -> Staged:
        """Put `data`, or the content of a file from `scratch`, under a key of its own below `.staging`."""
        url, final = f"{self._url}/{relative_path}", f"{self._root}/{relative_path}"
        staged, placed = f"{self._root}/{STAGING}/{token}", False
        with translated(url):
            self._make_parent(staged)
            if isinstance(data, Path):
                try:
                    self._file_system.put_file(str(data), staged)
                finally:
                    shutil.rmtree(data.parent, ignore_errors=True)
            else:
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
                    raise taken_away(url) from None
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
                staged = self._file_system.ls(f"{self._root}/{STAGING}", detail=False, refresh=True)
            except FileNotFoundError:
                return
            for path in staged:
                if is_older(path.rpartition("/")[2], job_id, fence):
                    with suppress(FileNotFoundError):
                        self._file_system.rm_file(path)

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove what was put below `.staging`."""
        with translated(self._url, verb="remove") if strict else suppress(Exception), suppress(FileNotFoundError):
            self._file_system.rm(f"{self._root}/{STAGING}", recursive=True)

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
        self._file_system.makedirs(path.rpartition("/")[0], exist_ok=True)  # does nothing in stores without folders
