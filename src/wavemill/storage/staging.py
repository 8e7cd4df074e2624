"""An output is staged first, under a name that nobody reads, and placed later: renamed on a file system, moved by an
object store. So whoever finds a file under its final name finds all of it. Staged names tell the job and its fence, so
that a later claim can take away what an earlier one would still place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from wavemill.errors import StorageUnavailableError

STAGING = ".staging"
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


def taken_away(final: object) -> StorageUnavailableError:
    """Return the error of a place without its source."""
    return StorageUnavailableError(
        f"what was staged for {final} is gone: the job was taken over, or its staging cleared"
    )


def is_older(name: str, job_id: int, fence: int) -> bool:
    """Whether a staged name is of this job, and of a lower fence."""
    owner, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return owner == str(job_id) and number.isdecimal() and int(number) < fence
