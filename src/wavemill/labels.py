"""Labels of recordings: names with values that are texts or numbers. Standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

LabelValue = str | int | float
Labels = Mapping[str, LabelValue]

SPLIT = "split"  # the label that divides recordings into the parts below
SPLITS = ("train", "validation", "test")
_MOST_WHOLE = 10**18  # a whole number is below: more than 64 bits fit neither SQLite nor Parquet
# Of decimals there may be 20: Python and pandas write 0.00013992548631724903.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")


def is_label_value(value: object) -> bool:
    """Return whether a value from JSON can be a label's: a text, a finite number, or a whole one of up to 18 digits."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) < _MOST_WHOLE
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def number_in(text: str) -> int | float | None:
    """Return the number that a text stands for, such as `69`, `-1.5` or `1e3`; None if it is no number.

    A text such as `007` or `1_000` is a name: as a number it would lose some of its characters.
    """
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else None


def label_equals(value: LabelValue, wanted: str) -> bool:
    """Return whether a label's value is the one that a user typed: `69`, `69.0` and 69 are equal."""
    if isinstance(value, str):
        return value == wanted
    return value == number_in(wanted)
