"""Turns IDs into jobs: validates them, looks them up, drops duplicates, names the jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeGuard

from wavemill.dataset.index import Dataset
from wavemill.errors import UnknownSpectrogramError, UsageError
from wavemill.jobs.submit import NewJob
from wavemill.labels import Labels
from wavemill.operations.identifiers import validate_id
from wavemill.operations.named_ids import NamedId, NamedPair, named_id, named_pair
from wavemill.operations.requests import interpolation_weights
from wavemill_producer.seen import SeenIds, SeenPairs

_PAGE = 20_000
_SHOWN = 5


@dataclass(kw_only=True)
class Checked:
    """What the checks found. Unknown IDs are listed only if they are counted instead of refused."""

    counts_unknown: bool = False
    duplicates: int = 0
    unknown: int | None = None
    unknown_examples: tuple[str, ...] = ()


def checked_ids(
    ids: Iterable[Any], *, dataset: Dataset | None, checked: Checked, named: Callable[[Any], NamedId] = named_id
) -> Iterator[str | NamedId]:
    """Yield each ID once, in the order given; a million take no more memory than a thousand.

    Plain IDs stay texts, which are faster; `named` reads what else is given.

    Raises UsageError for a single string or a wrong object, InvalidIdError for an invalid ID, and, after the last ID,
    UnknownSpectrogramError if `dataset` lacks any of them. If `dataset` is None, nothing is looked
    up.
    """
    if isinstance(ids, str):
        raise UsageError(f"expected several IDs, received the one string {ids[:80]!r}; put it into a list")
    iterator = iter(ids)
    with closing(SeenIds(dataset)) as seen:
        while page := list(islice(iterator, _PAGE)):
            new: Sequence[str | NamedId]
            if _are_plain(page):
                new = seen.add([validate_id(ID) for ID in page])
            else:
                new = seen.add_named([named(one) for one in page])
            checked.duplicates += len(page) - len(new)
            yield from new
        if dataset is not None:
            _judge_unknown(seen, dataset, checked)


def _are_plain(page: Sequence[object]) -> TypeGuard[list[str]]:
    return set(map(type, page)) == {str}


def _judge_unknown(seen: SeenIds, dataset: Dataset, checked: Checked) -> None:
    count, examples = seen.unknown(_SHOWN)
    if count and not checked.counts_unknown:
        raise _unknown(dataset, count, seen.count, examples)
    checked.unknown, checked.unknown_examples = count, tuple(examples)


def plain_jobs(ids: Iterable[str | NamedId]) -> Iterator[NewJob]:
    """Yield a job for each ID."""
    return ((ID, None) if isinstance(ID, str) else (ID.id, None, *_columns(ID)) for ID in ids)


def variation_jobs(ids: Iterable[str | NamedId], count: int) -> Iterator[NewJob]:
    """Yield `count` jobs for each ID, named `ID_vary-1`, `ID_vary-2`, ..., each with what is said about the ID."""
    if count < 1:
        raise UsageError(f"count {count}: expected 1 or more")
    return _variations(ids, count)


def _variations(ids: Iterable[str | NamedId], count: int) -> Iterator[NewJob]:
    for one in ids:
        ID, columns = (one, ()) if isinstance(one, str) else (one.id, _columns(one))
        for k in range(1, count + 1):
            # The number is not padded with zeros. The name is part of the seed, so padding would change
            # the first neighbours when `count` grows.
            yield validate_id(f"{ID}_vary-{k}"), {"of": ID}, *columns


def interpolation_jobs(
    pairs: Iterable[Any],
    steps: int,
    *,
    dataset: Dataset | None,
    checked: Checked,
    named: Callable[[Any], NamedPair] = named_pair,
) -> Iterator[NewJob]:
    """Yield a job for each step between each pair of IDs, named `A_to_B_step-1-of-5` and so on.

    A million pairs take no more memory than a thousand.
    """
    weights = interpolation_weights(steps)
    width = len(str(steps))
    iterator = iter(pairs)
    with closing(SeenPairs()) as seen:
        while page := [named(pair) for pair in islice(iterator, _PAGE)]:
            _look_up({ID: None for pair in page for ID in (pair.start, pair.end)}, dataset, checked)
            new = seen.add(page, [f"{pair.start}_to_{pair.end}" for pair in page])
            checked.duplicates += len(page) - len(new)
            for name, pair in new.items():
                for k, weight in enumerate(weights, start=1):
                    item = {"from": pair.start, "to": pair.end, "weight": weight}
                    yield validate_id(f"{name}_step-{k:0{width}d}-of-{steps}"), item, *_columns(pair)


def _columns(named: NamedId | NamedPair) -> tuple[str | None, Mapping[str, Any] | None] | tuple[()]:
    """Return what a job's row needs besides its ID and item: nothing where nothing is said."""
    about = named.about
    return () if about.text is None else (about.custom_id, about.metadata or None)


def sample_jobs(count: int, *, labels: Labels, seed: int | None) -> Iterator[NewJob]:
    """Yield `count` jobs, named after the labels, the seed and their number: `digit-7_seed-0_000001`."""
    if count < 1:
        raise UsageError(f"count {count}: expected 1 or more")
    parts = [f"{key}-{value}" for key, value in sorted(labels.items())] or ["sample"]
    stem = re.sub(r"[^\w.=-]+", "-", "_".join(parts))
    return ((validate_id(f"{stem}_seed-{seed}_{k:06d}"), None) for k in range(1, count + 1))


def _look_up(ids: Iterable[str], dataset: Dataset | None, checked: Checked) -> None:
    if dataset is None:
        return
    asked = list(ids)
    unknown = dataset.unknown(asked)
    if unknown and not checked.counts_unknown:
        raise _unknown(dataset, len(unknown), len(asked), unknown[:_SHOWN])
    checked.unknown = (checked.unknown or 0) + len(unknown)  # an ID on two pages counts twice
    checked.unknown_examples = (*checked.unknown_examples, *unknown)[:_SHOWN]


def _unknown(dataset: Dataset, count: int, n_asked: int, examples: list[str]) -> UnknownSpectrogramError:
    # Quote IDs with a space at an end, which would not be seen.
    shown = ", ".join(ID if ID.strip() == ID else repr(ID) for ID in examples) + (
        ", ..." if count > len(examples) else ""
    )
    return UnknownSpectrogramError(
        f"{dataset.path} has no spectrogram for {count} of the {n_asked} IDs looked at: {shown}. "
        "Nothing was queued; list the IDs with `wavemill dataset ids`, or let only the jobs of the unknown IDs fail "
        "with --no-check-ids (in Python: check_ids=False)"
    )
