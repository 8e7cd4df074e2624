"""Outputs are written in two steps: staged under a temporary name, then placed under the final one.

Placing is a rename on a file system and a move in an object store, so a file under its final name
is always whole. Staged names hold the job and its fence, so that a later claim can remove what an
earlier one staged and could still place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wavemill.errors import StorageUnavailableError

STAGING = ".staging"
Remove = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A whole output under a temporary name.

    `place` moves it to `path`; `discard` removes it if it was not placed.
    """

    path: str
    place: Callable[[], None]
    discard: Callable[[], None]


class OutputStore(Protocol):
    """A folder or URL below which outputs are written."""

    def stage(self, relative_path: str, data: bytes | Path, *, token: str) -> Staged:
        """Write `data` under a temporary name made unique by `token`, which is JOB.FENCE.KIND.

        A path is that of a file with the data, which `scratch` has named; it is moved.
        """

    def scratch(self, token: str) -> Path:
        """Return a path to write a large output to, before it is staged."""

    def supersede(self, job_id: int, fence: int) -> None:
        """Remove what claims of the job with lower fences have staged; end removals under way."""

    def clear_staging(self, *, strict: bool = False) -> None:
        """Remove all staged outputs, such as dead workers leave; `strict`: raise errors."""

    def removing(self) -> AbstractContextManager[Remove]:
        """Yield a function that removes an output if it exists; a later `supersede` disables it."""

    def remove_empty_folders(self) -> None:
        """Remove empty folders below the root, and the root if it is empty."""


class JobOutputs:
    """The outputs of one claim of one job, staged and placed together.

    `place` may be called again. It first removes what earlier claims of the job have staged. So a
    process that was frozen and lost the job cannot overwrite a finished output.
    """

    def __init__(self, store: OutputStore, *, job_id: int, fence: int) -> None:
        self._store = store
        self._job_id = job_id
        self._fence = fence
        self._staged: list[Staged] = []

    def scratch(self, kind: str) -> Path:
        """Return a path to write a large output to; `stage` takes it in place of the data."""
        return self._store.scratch(f"{self._token(kind)}.large")

    def stage(self, kind: str, relative_path: str, data: bytes | Path) -> str:
        """Stage an output and return its final path; on an error, discard all of this claim's."""
        try:
            staged = self._store.stage(relative_path, data, token=self._token(kind))
        except Exception:
            self.discard()
            raise
        self._staged.append(staged)
        return staged.path

    def _token(self, kind: str) -> str:
        return f"{self._job_id}.{self._fence}.{kind}"

    def place(self) -> None:
        """Move all outputs to their final paths."""
        if self._fence > 1:
            self._store.supersede(self._job_id, self._fence)
        for staged in self._staged:
            staged.place()

    def discard(self) -> None:
        """Remove what is still staged, never what was placed, which may be another's now."""
        for staged in self._staged:
            staged.discard()


def taken_away(final: object) -> StorageUnavailableError:
    """Return the error for a staged output that is gone when it is to be placed."""
    return StorageUnavailableError(
        f"what was staged for {final} is gone: the job was taken over, or its staging cleared"
    )


def is_older(name: str, job_id: int, fence: int) -> bool:
    """Whether a staged name belongs to this job and a lower fence."""
    owner, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return owner == str(job_id) and number.isdecimal() and int(number) < fence
