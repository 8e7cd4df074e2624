from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.vae.conditions import (
    MOST_KNOTS,
    Category,
    Number,
    conditions_as_dict,
    conditions_from_dict,
    conditions_of,
    labels_in,
    total_width,
)
from wavemill.vae.told import told

NOTES = [
    {"instrument": name, "pitch": pitch, "velocity": 50} for name in ("violin", "cello") for pitch in (60, 62.5, 69)
]


def test_texts_become_a_category_and_numbers_a_number() -> None:
    instrument, pitch = conditions_of(["instrument", "pitch"], NOTES)
    assert instrument == Category(label="instrument", values=("cello", "violin"))
    assert pitch == Number(label="pitch", knots=(60.0, 62.5, 69.0))
    assert total_width((instrument, pitch)) == 3


@pytest.mark.parametrize("label", ["velocity", "bow"])
def test_a_label_that_says_nothing_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match=f"--condition {label}"):
        conditions_of([label], NOTES)


def test_of_many_numbers_the_whole_ones_are_knots() -> None:
    (pitch,) = conditions_of(["pitch"], [{"pitch": 36 + i / 4} for i in range(4 * 40 + 2)])
    assert isinstance(pitch, Number)
    assert pitch.knots == (*(float(key) for key in range(36, 77)), 76.25)


def test_of_many_numbers_without_whole_ones_some_are_knots() -> None:
    (gain,) = conditions_of(["gain"], [{"gain": (i + 0.5) ** 2} for i in range(1_000)])
    assert isinstance(gain, Number)
    assert MOST_KNOTS / 2 < len(gain.knots) <= MOST_KNOTS
    assert (gain.knots[0], gain.knots[-1]) == (0.25, 999.5**2)


def test_what_is_told_are_weights_of_a_category_and_a_number_within_its_range() -> None:
    conditions = conditions_of(["instrument", "pitch"], NOTES)
    numbers, known = told(conditions, [NOTES[1], {"pitch": 80}, {"instrument": "harp", "pitch": "69"}])
    np.testing.assert_array_equal(numbers, [[0, 1, 62.5], [0, 0, 69], [0, 0, 69]])
    np.testing.assert_array_equal(known, [[1, 1], [0, 1], [0, 1]])
    assert labels_in(conditions, [0.2, 0.8, 69.0]) == {"instrument": "violin", "pitch": 69}


@pytest.mark.parametrize(
    ("label", "value"), [("pitch", "59"), ("pitch", 70), ("pitch", "high"), ("instrument", "harp")]
)
def test_what_was_not_learnt_is_refused_with_what_was(label: str, value: str | int) -> None:
    condition = {one.label: one for one in conditions_of(["instrument", "pitch"], NOTES)}[label]
    with pytest.raises(UsageError, match="60 to 69" if label == "pitch" else "cello, violin"):
        condition.require(value)


def test_numbers_between_knots_can_be_asked_for_as_text() -> None:
    (pitch,) = conditions_of(["pitch"], NOTES)
    assert pitch.require("60.5") == 60.5


def test_conditions_survive_json() -> None:
    conditions = conditions_of(["instrument", "pitch"], NOTES)
    assert conditions_from_dict(conditions_as_dict(conditions)) == conditions


@pytest.mark.parametrize(
    "about",
    [
        "category",
        {"kind": "category", "values": ["a"]},
        {"kind": "category", "values": ["a", "a"]},
        {"kind": "category", "values": ["a", 1]},
        {"kind": "number", "knots": [2, 1]},
        {"kind": "number", "knots": [1, True]},
        {"kind": "number", "knots": [1, float("nan")]},
        {"kind": "number", "knots": [0, 1e39]},
        {"kind": "number", "knots": list(range(MOST_KNOTS + 1))},
    ],
)
def test_malformed_conditions_are_refused(about: Any) -> None:
    with pytest.raises(ValueError, match="condition 'x'"):
        conditions_from_dict({"x": about})
