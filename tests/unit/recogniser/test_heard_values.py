from __future__ import annotations

import pytest

from wavemill.recogniser.heard_values import MOST_SINGLE, RANGES, heard_as, heard_values

PITCHES = [pitch for pitch in range(36, 97) for _ in range(3)]
NAMES = ["36 to 48", "49 to 60", "61 to 72", "73 to 84", "85 to 96"]


def test_texts_and_a_few_numbers_are_told_apart_one_by_one() -> None:
    assert heard_values(["7", "10", "7"]) == ["10", "7"]
    assert heard_values([90, 50, 120, 90.0]) == ["50", "90", "120"]
    assert heard_values(range(MOST_SINGLE)) == [str(number) for number in range(MOST_SINGLE)]
    assert heard_values([1, "loud"]) == ["1", "loud"]
    assert heard_values([]) == []


def test_many_numbers_are_told_apart_in_ranges_of_about_as_many_sounds() -> None:
    assert heard_values(PITCHES) == NAMES
    skewed = [0] * 500 + [number / 4 for number in range(100)]
    names = heard_values(skewed)
    counts = [sum(heard_as(value, names) == name for value in skewed) for name in names]
    assert counts == [501, 25, 25, 25, 24]
    assert len(names) == RANGES


@pytest.mark.parametrize(
    ("value", "name"),
    [(36, NAMES[0]), (48, NAMES[0]), (48.4, NAMES[0]), (48.6, NAMES[1]), ("61", NAMES[2]), (96, NAMES[4])],
)
def test_a_number_has_the_name_of_the_nearest_range(value: float | str, name: str) -> None:
    assert heard_as(value, NAMES) == name


@pytest.mark.parametrize("value", [35, 97, "loud", None])
def test_what_no_range_holds_has_no_name(value: float | str | None) -> None:
    assert heard_as(value, NAMES) is None


def test_of_single_numbers_only_the_equal_one_is_meant() -> None:
    assert heard_as(50.0, ["50", "90"]) == "50"
    assert heard_as(70, ["50", "90"]) is None
    assert heard_as(3, ["low", "high"]) is None


def test_every_number_belongs_to_a_range_however_many_digits_it_has() -> None:
    numbers = [1e-4 + number / 7e3 for number in range(100)]
    names = heard_values(numbers)
    assert len(names) == 5
    assert {heard_as(number, names) for number in numbers} == set(names)
