"""A submission: the options that every operation takes, and the checked batch that results from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from wavemill.errors import UsageError
from wavemill.jobs.submit import BatchRequest, NewJob
from wavemill_producer.ids import Checked


class Options(TypedDict, total=False):
    """The arguments that every operation takes besides its own.

    Attributes
    ----------
    output : str or Path, required
        Folder as the workers see it, or an fsspec URL; outputs are written below OUTPUT/BATCH/.
    name : str, shown in listings
    priority : int, 0 to 9; 9 goes first
    progress : callable, called with the number of jobs written so far
    key : str
        Idempotency key: the same key returns the same batch, even to two producers at once. The
        same key with another request is an error.
    tags : mapping
        Such as {"project": "x"}: batches can be listed by their tags.
    webhook_url : str
        Called when the batch ends, by any worker's supervisor or page that has WAVEMILL_WEBHOOK_SECRET.
    reuse : bool
        Copy outputs that an earlier batch made from the same inputs and still has, instead of
        rendering them again.
    """

    output: str | Path
    name: str | None
    priority: int
    progress: Callable[[int], None]
    key: str | None
    tags: Mapping[str, str] | None
    webhook_url: str | None
    reuse: bool


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A batch to submit. `new_jobs` is a stream; reading it checks the IDs."""

    request: BatchRequest
    new_jobs: Iterable[NewJob]
    checked: Checked
    bytes_per_job: int
    progress: Callable[[int], None]
    reuse: bool


def require_known(options: Options) -> None:
    """Refuse options that a caller without a type checker has misspelt, misplaced or left out."""
    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        raise UsageError(
            f"there is no option {', '.join(unknown)}; settings of the operation go into `params`, such as "
            f"SampleParams(labels=...); other options: {', '.join(Options.__annotations__)}"
        )
    if "output" not in options:
        raise UsageError("expected an `output`: the folder or URL below which OUTPUT/BATCH/ is written")
