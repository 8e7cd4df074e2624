"""Filters by label. Labels lie in datasets, which the jobs' table knows nothing of: a lookup finds them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import RowMapping

from wavemill.errors import UsageError
from wavemill.jobs.filters import COMPARE, LABEL, Condition
from wavemill.labels import LabelValue, number_in

if TYPE_CHECKING:
    from wavemill.jobs.database import Database

_Check = Callable[[LabelValue | None], bool]
COLUMNS = ("id", "batch_id", "spectrogram_id", "item")  # of a row whose labels are looked up


class LabelsOf(Protocol):
    """Looks up the labels of jobs, rows with `COLUMNS`, in their order.

    Raises UsageError if a dataset cannot be read, or has no label of one of the `required` names.
    """

    def __call__(
        self, database: Database, rows: Sequence[RowMapping], *, required: Collection[str]
    ) -> Sequence[Mapping[str, LabelValue]]:
        """Return a mapping of names to values for each job."""


def divided(conditions: Sequence[Condition]) -> tuple[list[Condition], list[Condition]]:
    """Return the conditions that SQL checks, and those on labels."""
    on_labels = [one for one in conditions if one.field.startswith(LABEL)]
    return [one for one in conditions if one not in on_labels], on_labels


def with_labels(
    database: Database, rows: Sequence[RowMapping], conditions: Sequence[Condition], *, is_one_batch: bool
) -> Sequence[RowMapping]:
    """Return the rows whose labels meet all `conditions`, which are on labels.

    A name that no spectrogram of a batch's dataset has is refused; among jobs of all batches, it only matches less.
    """
    if not conditions or not rows:
        return rows
    if database.labels_of is None:
        raise UsageError(f"{conditions[0]}: this process cannot read datasets, and so no labels")
    names = [one.field.removeprefix(LABEL) for one in conditions]
    labels = database.labels_of(database, rows, required=set(names) if is_one_batch else ())
    checks = list(zip(names, map(_check, conditions), strict=True))
    return [
        row for row, found in zip(rows, labels, strict=True) if all(check(found.get(name)) for name, check in checks)
    ]


def _check(condition: Condition) -> _Check:
    """Return whether a label's value meets a condition; numbers are compared with numbers, texts with texts.

    Labels that come from the names of files are texts, so `<`, `<=`, `>` and `>=` take `7` for a number.
    """
    wanted, sign = condition.value, condition.operator
    if sign == "!=":
        is_equal = _check(replace(condition, operator="="))
        return lambda value: not is_equal(value)
    if wanted is None:
        return lambda value: value is None
    if condition.is_pattern:
        matcher = re.compile(fnmatch.translate(wanted.replace("[", "[[]")))
        return lambda value: isinstance(value, str) and matcher.match(value) is not None
    compare, number = COMPARE[sign], condition.number
    if sign == "=":
        return lambda value: value == wanted if isinstance(value, str) else value is not None and value == number
    if number is None:
        return lambda value: isinstance(value, str) and bool(compare(value, wanted))

    def is_so(value: LabelValue | None) -> bool:
        amount = number_in(value) if isinstance(value, str) else value
        return amount is not None and bool(compare(amount, number))

    return is_so
