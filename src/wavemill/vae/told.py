"""Labels as the numbers that a decoder is told, for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.labels import Labels
from wavemill.vae.conditions import Conditions, total_width


class Told(NamedTuple):
    """What is known of the conditions of a batch.

    Attributes
    ----------
    numbers : float32 [shape=(batch, numbers of all conditions)], 0 where a label is unknown
    known : float32 [shape=(batch, conditions)], 1 where the label is known
    """

    numbers: FloatArray
    known: FloatArray

    def take(self, chosen: slice | NDArray[np.int64]) -> Told:
        """Return the chosen items."""
        return Told(self.numbers[chosen], self.known[chosen])


def told(conditions: Conditions, labels: Sequence[Labels]) -> Told:
    """Return the numbers of each item's labels."""
    numbers = np.zeros((len(labels), total_width(conditions)), np.float32)
    known = np.zeros((len(labels), len(conditions)), np.float32)
    for row, item in enumerate(labels):
        first = 0
        for column, condition in enumerate(conditions):
            own = condition.numbers(item[condition.label]) if condition.label in item else None
            if own is not None:
                numbers[row, first : first + condition.width] = own
                known[row, column] = 1
            first += condition.width
    return Told(numbers, known)


def over_numbers(known: FloatArray, conditions: Conditions) -> FloatArray:
    """Repeat each condition's column for all of its numbers, (B, conditions) -> (B, numbers)."""
    return np.repeat(known, [condition.width for condition in conditions], axis=1)
