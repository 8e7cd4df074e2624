"""`FolderStore`: outputs in a local folder or on NFS."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wavemill.errors import StorageUnavailableError
from wavemill.storage.errors import translated
from wavemill.storage.reading import folder_of
from wavemill.storage.staging import STAGING, Remove, Staged, is_older, taken_away

_TRASH, _ENDED = "trash-", "ended-"  # beginnings of the names of folders that removals use


class FolderStore:
    """Writes outputs to a folder; stages them in its folder `.staging`, on the same file system.

    Parameters
    ----------
    must_exist : bool
        Outputs were written here before: if the root is gone, raise StorageUnavailableError
        instead of making a new one.
    """

    def __init__(self, root: Path, *, must_exist: bool = False) -> None:
        self._root = root
        self._staging = root / STAGING
        self._must_exist = must_exist
        self._made: set[Path] = set()
        self._root_lock = threading.Lock()  # several threads may write the first outputs of a batch

    def scratch(self, token: str) -> Path:
        """Return a path below `.staging`."""
        with translated(self._staging):
            self._make(self._staging)
        return self._staging / token

    def stage(self, relative_path: str, data: bytes | Path, *, token: str) -> Staged:
        """Write `data` to a file of its own below `.staging`, or move the file that holds it there."""
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
                        raise taken_away(final) from None
                    self._with_folders(lambda: staged.replace(final), final.parent)
            placed = True

        def discard() -> None:
            if not placed:
                with suppress(OSError):  # another error is being reported already
                    staged.unlink(missing_ok=True)

        return Staged(path=str(final), place=place, discard=discard)

    def supersede(self, job_id: int, fence: int) -> None:
        """Delete what lower fences have staged, so that their later renames find no source."""
        with translated(self._staging), suppress(FileNotFoundError):
            for path in self._staging.iterdir():
                if path.name.startswith(_TRASH):
                    # Renamed first, so that a removal that was frozen cannot move anything into it.
                    ended = path.with_name(f"{_ENDED}{secrets.token_hex(8)}")
                    with suppress(FileNotFoundError):
                        path.rename(ended)
                        shutil.rmtree(ended, ignore_errors=True)
                elif is_older(path.name, job_id, fence):
                    path.unlink(missing_ok=True)

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove `.staging`; a worker still writing there lost its jobs, or renders them again."""
        if strict:
            self._require_old_root()
        with translated(self._staging, verb="remove") if strict else suppress(OSError), suppress(FileNotFoundError):
            shutil.rmtree(self._staging)
        self._made.discard(self._staging)

    @contextmanager
    def removing(self) -> Iterator[Remove]:
        """Yield a function that moves an output into a trash folder, which is deleted at the end.

        `supersede` deletes the trash folder too: then a removal that was frozen cannot
        move anything.
        """
        self._require_old_root()
        if not self._root.is_dir():
            yield lambda _: None
            return
        trash = self._staging / f"{_TRASH}{secrets.token_hex(8)}"
        trash.mkdir(parents=True)

        def remove(relative_path: str) -> None:
            with (
                suppress(FileNotFoundError, NotADirectoryError),  # a link to a folder counts as none
                folder_of(self._root, relative_path) as (folder, last),
            ):
                if stat.S_ISREG(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode):
                    os.rename(last, trash / secrets.token_hex(8), src_dir_fd=folder)

        try:
            yield remove
        finally:
            shutil.rmtree(trash, ignore_errors=True)
            with suppress(OSError):
                self._staging.rmdir()
                self._made.discard(self._staging)

    def remove_empty_folders(self) -> None:
        """Remove empty folders, the deepest first, and the root if nothing is left in it."""
        for folder, _, _ in os.walk(self._root, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        self._made.clear()

    def _with_folders(self, action: Callable[[], object], *folders: Path) -> None:
        """Run `action`, which needs these folders; if one was removed, make it and run again."""
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
                f"{self._root} is gone, and outputs were in it: mount its disk; jobs wait for it, "
                "`wavemill cancel` ends the wait"
            )


def _write(path: Path, data: bytes | Path) -> None:
    if isinstance(data, Path):
        data.replace(path)
        return
    try:
        path.write_bytes(data)
    except OSError:
        path.unlink(missing_ok=True)  # half a file would only take space on a full disk
        raise
