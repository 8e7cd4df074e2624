"""Spectrogram IDs on their way into a batch: valid, known, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from wavemill.dataset.index import Dataset
from wavemill.errors import UnknownSpectrogramError, UsageError
from wavemill.identifiers import validate_id

_PAGE = 5_000
_SHOWN = 5


@dataclass(kw_only=True)
class Checked:
    """What was found on the way."""

    duplicates: int = 0


def checked_ids(ids: Iterable[str], *, dataset: Dataset | None, checked: Checked) -> Iterator[str]:
    """Yield each ID once, in the order given.

    Raises UsageError for a single string, InvalidIdError, and UnknownSpectrogramError for IDs that `dataset` does
    not have; a `dataset` of None is not asked.
    """
    if isinstance(ids, str):
        raise UsageError(f"expected several IDs, received the one string {ids[:80]!r}; put it into a list")
    seen: set[str] = set()
    iterator = iter(ids)
    while page := list(islice(iterator, _PAGE)):
        new = [validate_id(ID) for ID in dict.fromkeys(page) if ID not in seen]
        checked.duplicates += len(page) - len(new)
        if dataset is not None and (unknown := dataset.unknown(new)):
            shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
            raise UnknownSpectrogramError(
                f"{dataset.path} has no spectrogram of {len(unknown)} of the {len(new)} IDs last looked at: {shown}. "
                "Nothing was queued; list what there is with `wavemill dataset ids`, or let the unknown ones fail "
                "alone with --no-check-ids"
            )
        seen.update(new)
        yield from new
