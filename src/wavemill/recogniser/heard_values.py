"""What a recogniser tells apart of a label: each of its texts, and numbers in ranges if there are many.

A table of 60 pitches says little, and a recogniser with 60 rare values learns little. Numbers with more
than `MOST_SINGLE` different values are therefore told apart in `RANGES` ranges that hold about as many
sounds each. A range is named by its lowest and highest learnt value, such as `36 to 47`. Standard
library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wavemill.labels import LabelValue, number_in

MOST_SINGLE = 16
RANGES = 5
_RANGE = re.compile(r"(\S+) to (\S+)")


def heard_values(values: Iterable[LabelValue]) -> list[str]:
    """Return the names of what is told apart of a label, in order, from the values of all sounds."""
    every = list(values)
    numbers = sorted(value for value in every if not isinstance(value, str))
    if len(numbers) < len(every):
        return sorted({str(value) for value in every})
    distinct = sorted(set(numbers))
    if len(distinct) <= MOST_SINGLE:
        return [str(number) for number in distinct]
    starts = sorted({distinct[0], *(numbers[len(numbers) * i // RANGES] for i in range(1, RANGES))})
    names = []
    for start, end in zip(starts, [*starts[1:], float("inf")], strict=True):
        own = [number for number in distinct if start <= number < end]
        names.append(str(own[0]) if len(own) == 1 else f"{own[0]} to {own[-1]}")
    return names


def heard_as(value: LabelValue | None, names: Sequence[str]) -> str | None:
    """Return which of the names, made by `heard_values`, a label's value has; None if it has none.

    A number between two ranges belongs to the nearer one, a number beyond all of them to none.
    """
    if value is None or str(value) in names:
        return None if value is None else str(value)
    number = number_in(value) if isinstance(value, str) else value
    ends = {name: found for name in names if (found := _ends(name))}
    if number is None or not ends:
        return None
    if any(low < high for low, high in ends.values()):
        lowest, highest = min(low for low, _ in ends.values()), max(high for _, high in ends.values())
        nearest = min(ends, key=lambda name: max(ends[name][0] - number, number - ends[name][1]))
        return nearest if lowest <= number <= highest else None
    return next((name for name, (low, _) in ends.items() if low == number), None)


def _ends(name: str) -> tuple[float, float] | None:
    """Return the lowest and the highest number that a name stands for; None if it is a text."""
    match = _RANGE.fullmatch(name)
    low, high = (number_in(text) for text in (match.groups() if match else (name, name)))
    return None if low is None or high is None or low > high else (low, high)
