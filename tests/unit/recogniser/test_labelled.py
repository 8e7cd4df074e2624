from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.recogniser.labelled import parts_of, values_of


def items(*splits: str) -> list[dict[str, object]]:
    return [{"split": split, "pitch": 60 + k % 2, "name": f"n{k}"} for k, split in enumerate(splits)]


def test_parts_are_those_of_the_label_split() -> None:
    parts = parts_of(items("train", "test", "validation", "train"), None)
    assert parts.training.tolist() == [True, False, False, True]
    assert parts.calibration.tolist() == [False, False, True, False]
    assert parts.test.tolist() == [False, True, False, False]


@pytest.mark.parametrize("only", ["validation", "test"])
def test_a_part_that_is_missing_is_replaced_by_the_other(only: str) -> None:
    parts = parts_of(items("train", only), None)
    assert parts.calibration.tolist() == parts.test.tolist() == [False, True]


def test_a_rule_goes_before_the_split_and_without_either_one_is_asked_for() -> None:
    assert parts_of(items("train", "test", "train"), "pitch=60").test.tolist() == [True, False, True]
    with pytest.raises(UsageError, match="--held-out"):
        parts_of([{"pitch": 60}, {"pitch": 61}], None)
    with pytest.raises(UsageError, match="would hold out 0 of 2"):
        parts_of(items("train", "train"), None)


def test_numbers_are_learnt_as_names_and_what_differs_in_every_sound_is_not() -> None:
    labels = items(*["train"] * 8)
    assert values_of(labels, np.ones(8, bool), ()) == {"pitch": ["60", "61"]}
    with pytest.raises(UsageError, match="not every recording has the label mood; all have: name, pitch"):
        values_of(labels, np.ones(8, bool), ["mood"])
