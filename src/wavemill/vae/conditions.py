"""The labels that a decoder is told, and how they become numbers. Standard library only.

A category is one of a list of texts; as numbers it is a weight for each of them, 1 for its own. A
number is itself. The numbers of all conditions follow the latents in one vector, in the order of
the model's record, so that whatever stores, decodes or morphs latents handles them too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wavemill.errors import UsageError
from wavemill.labels import Labels, LabelValue, number_in

MOST_VALUES = 1024  # of a category
MOST_KNOTS = 128  # of a number; with more distinct values, evenly chosen ones of them
LEAST_WHOLE_KNOTS = 16
MOST_CONDITIONS = 16
MOST_MAGNITUDE = 1e30  # of a number: float32 ends near 3e38


@dataclass(frozen=True, kw_only=True)
class Category:
    """A condition with a list of known values."""

    label: str
    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """Numbers in the vector."""
        return len(self.values)

    @property
    def choices(self) -> int:
        """What an encoder that predicts this condition chooses from."""
        return len(self.values)

    def numbers(self, value: LabelValue) -> list[float] | None:
        """Return the numbers that stand for a label's value; None if the value is not known."""
        if str(value) not in self.values:
            return None
        return [float(known == str(value)) for known in self.values]

    def named(self, numbers: Sequence[float]) -> LabelValue:
        """Return the value that `numbers` stand for, or the nearest."""
        return self.values[max(range(len(self.values)), key=lambda i: numbers[i])]

    def require(self, value: LabelValue) -> LabelValue:
        """Return a value that a user asks for; UsageError if it is not known."""
        if str(value) not in self.values:
            raise UsageError(f"{self.label}={value}: expected one of {', '.join(self.values)}")
        return str(value)

    @property
    def described(self) -> str:
        """What can be asked for, for messages."""
        return f"{self.label}={'|'.join(self.values)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {"kind": "category", "values": list(self.values)}


@dataclass(frozen=True, kw_only=True)
class Number:
    """A condition that is a number; `knots` are values that were learnt, between which it is interpolated."""

    label: str
    knots: tuple[float, ...]  # ascending, at least two

    width = 1  # numbers in the vector

    @property
    def choices(self) -> int:
        """What an encoder that predicts this condition chooses from."""
        return len(self.knots)

    def numbers(self, value: LabelValue) -> list[float] | None:
        """Return the number itself, at most as far as the nearest knot; None if `value` is none."""
        number = number_in(value) if isinstance(value, str) else value
        return None if number is None else [min(max(float(number), self.knots[0]), self.knots[-1])]

    def named(self, numbers: Sequence[float]) -> LabelValue:
        """Return the number that `numbers` hold, whole if it is."""
        value = round(float(numbers[0]), 4)
        return int(value) if value == int(value) else value

    def require(self, value: LabelValue) -> LabelValue:
        """Return a value that a user asks for as a number; UsageError if it was not learnt."""
        number = number_in(value) if isinstance(value, str) else value
        if number is None or not self.knots[0] <= number <= self.knots[-1]:
            raise UsageError(f"{self.label}={value}: expected a number from {self.knots[0]:g} to {self.knots[-1]:g}")
        return number

    @property
    def described(self) -> str:
        """What can be asked for, for messages."""
        return f"{self.label}={self.knots[0]:g} to {self.knots[-1]:g}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {"kind": "number", "knots": list(self.knots)}


Condition = Category | Number
Conditions = tuple[Condition, ...]


def conditions_of(labels: Sequence[str], items: Iterable[Labels]) -> Conditions:
    """Return the conditions for these labels, as the items of a training set have them.

    A label whose values are all numbers becomes a `Number`, any other a `Category`. Items may lack
    a label.

    Raises
    ------
    UsageError
        When no item has a label, all have the same value, or there are too many values.
    """
    found: dict[str, set[LabelValue]] = {label: set() for label in labels}
    for item in items:
        for label in found.keys() & item.keys():
            found[label].add(item[label])
    return tuple(_condition(label, values) for label, values in found.items())


def _condition(label: str, values: set[LabelValue]) -> Condition:
    if len(values) < 2:
        known = f"all of them have {label} {next(iter(values))!s:.40}" if values else "none of them has one"
        raise UsageError(f"the recordings cannot be conditioned on {label!r}: {known}; omit --condition {label}")
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) == len(values):
        return Number(label=label, knots=_knots(sorted(set(numbers))))
    if len(values) > MOST_VALUES:
        raise UsageError(
            f"{label!r} has {len(values)} different texts as values, expected at most {MOST_VALUES}; a label that "
            f"names single recordings teaches nothing: omit --condition {label}"
        )
    return Category(label=label, values=tuple(sorted(str(value) for value in values)))


def _knots(numbers: Sequence[float]) -> tuple[float, ...]:
    """Return at most `MOST_KNOTS` of the numbers, with both ends.

    Of more, these are the whole ones, such as the keys of a piano among other tunings; if there are
    few or too many of those, numbers near evenly spaced values.
    """
    if len(numbers) <= MOST_KNOTS:
        return tuple(numbers)
    whole = [number for number in numbers if number == int(number)]
    if LEAST_WHOLE_KNOTS <= len(whole) <= MOST_KNOTS - 2:
        return tuple(sorted({numbers[0], *whole, numbers[-1]}))
    step = (numbers[-1] - numbers[0]) / (MOST_KNOTS - 1)
    places = (bisect_left(numbers, numbers[0] + i * step) for i in range(MOST_KNOTS - 1))
    return tuple(sorted({*(numbers[place] for place in places), numbers[-1]}))


def total_width(conditions: Conditions) -> int:
    """Return how many numbers of a latent vector belong to the conditions."""
    return sum(condition.width for condition in conditions)


def labels_in(conditions: Conditions, numbers: Sequence[float]) -> dict[str, LabelValue]:
    """Return the labels that the last numbers of a latent vector stand for."""
    labels, first = {}, 0
    for condition in conditions:
        labels[condition.label] = condition.named(numbers[first : first + condition.width])
        first += condition.width
    return labels


def conditions_as_dict(conditions: Conditions) -> dict[str, Any]:
    """Return the conditions as JSON types, by label; `conditions_from_dict` is the inverse."""
    return {condition.label: condition.as_dict() for condition in conditions}


def conditions_from_dict(values: Mapping[str, Any]) -> Conditions:
    """Build conditions from JSON; TypeError or ValueError when it is malformed."""
    if len(values) > MOST_CONDITIONS:
        raise ValueError(f"conditions: expected at most {MOST_CONDITIONS}, received {len(values)}")
    return tuple(_from_dict(label, about) for label, about in values.items())


def _from_dict(label: str, about: Any) -> Condition:
    kind = about.get("kind") if isinstance(about, dict) else None
    if kind == "category" and _is_list(about.get("values"), str, most=MOST_VALUES):
        if len(set(about["values"])) == len(about["values"]):
            return Category(label=label, values=tuple(about["values"]))
    elif kind == "number" and _is_list(about.get("knots"), (int, float), most=MOST_KNOTS):
        knots = tuple(float(knot) for knot in about["knots"])
        if all(a < b for a, b in pairwise(knots)) and max(map(abs, knots)) <= MOST_MAGNITUDE:
            return Number(label=label, knots=knots)
    raise ValueError(f"condition {label!r}: expected a category with its values, or a number with ascending knots")


def _is_list(values: Any, kinds: type | tuple[type, ...], *, most: int) -> bool:
    if not isinstance(values, list) or not 2 <= len(values) <= most:
        return False
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in values)
