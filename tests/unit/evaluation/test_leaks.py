from __future__ import annotations

from typing import Any

import pytest

from wavemill.evaluation.leaks import leak_notes
from wavemill.vae.training.held_out import HeldOut

RULE = HeldOut.parse("index=5,6")
CLEAN = {"validation_label": "index=5, 6,7", "dataset": "fsdd", "added": []}


def notes(**training: Any) -> list[str]:
    return list(leak_notes("mine", {**CLEAN, **training}, RULE))


def test_a_training_that_kept_away_from_the_clips_needs_no_note() -> None:
    assert notes() == []
    assert notes(init="first, 12", ancestors=[{"model": "first, 12", **CLEAN}]) == []


@pytest.mark.parametrize("rule", [None, "index=5", "speaker=5,6", "by hand"])
def test_another_rule_is_named(rule: str | None) -> None:
    (note,) = notes(validation_label=rule)
    assert f"mine may have been trained on these clips: its training on fsdd held out {rule or 'a random part'}" in note


def test_what_a_model_began_as_counts_as_well() -> None:
    first = {"model": "first, 12", **CLEAN, "validation_label": "index=5"}
    (note,) = notes(init="second, 34", ancestors=[{"model": "second, 34", **CLEAN, "init": "first, 12"}, first])
    assert note.startswith("first, 12, which mine started from, may have been trained on these clips")


def test_a_beginning_that_no_record_tells_of_is_said() -> None:
    (note,) = notes(init="first, 12")
    assert "it started from first, 12, whose training is not recorded" in note
    (note,) = notes(init="second, 34", ancestors=[{"model": "second, 34", **CLEAN, "init": "first, 12"}])
    assert "it started from first, 12, whose training is not recorded" in note


def test_added_datasets_are_named_and_an_unnamed_share_too() -> None:
    (note,) = notes(added=["voices", "more"], added_share=0.15)
    assert "voices, more (15% of each epoch)" in note
    old = {name: value for name, value in CLEAN.items() if name != "added"}
    (note,) = leak_notes("old", {**old, "added_share": 0.2}, RULE)
    assert "its record does not name them" in note
    (note,) = notes(ancestors=[{"model": "first, 12", **CLEAN, "added": ["voices"], "added_share": 0.3}])
    assert note.startswith("first, 12, which mine started from, was also trained on voices (30% of each epoch)")


def test_a_training_without_a_rule_keeps_to_the_parts_of_a_dataset() -> None:
    record = {**CLEAN, "validation_label": None}
    assert list(leak_notes("mine", record, HeldOut.parse("split=test"))) == []
    assert list(leak_notes("mine", record, HeldOut.parse("split=train")))
