"""What a recogniser tells apart of a label: each of its texts, and numbers in ranges if there are many.

A table of 60 pitches says little, and a recogniser with 60 rare values learns little. Numbers with more
than `MOST_SINGLE` different values are therefore told apart in `RANGES` ranges that hold about as many
sounds each. A range is named by its lowest and highest learnt value, such as `36 to 48`. Standard
library only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wavemill.labels import LabelValue, number_in

MOST_SINGLE = 16
RANGES = 5
_RANGE = re.compile(r"(\S+) to (\S+)")


def heard_values(values: Iterable[LabelValue]) -> list[str]:
    """Return the names of what is told apart of a label, in order, from the values of all sounds."""
    every = list(values)
    counts = Counter(value for value in every if not isinstance(value, str))
    if counts.total() < len(every):
        return sorted({str(value) for value in every})
    if len(counts) <= MOST_SINGLE:
        return [str(number) for number in sorted(counts)]
    return [str(own[0]) if len(own) == 1 else f"{own[0]} to {own[-1]}" for own in _ranges(counts)]


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


def _ranges(counts: Mapping[float, int]) -> Iterator[list[float]]:
    """Yield the numbers of each range, in order."""
    left, filled, own = sum(counts.values()), 0, list[float]()
    n_ranges = RANGES
    for number in sorted(counts):
        own.append(number)
        filled += counts[number]
        if filled * n_ranges >= left or filled == left:
            yield own
            left, filled, own, n_ranges = left - filled, 0, [], n_ranges - 1


def _ends(name: str) -> tuple[float, float] | None:
    """Return the lowest and the highest number that a name stands for; None if it is a text."""
    match = _RANGE.fullmatch(name)
    low, high = (number_in(text) for text in (match.groups() if match else (name, name)))
    return None if low is None or high is None or low > high else (low, high)
