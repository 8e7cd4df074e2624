from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wavemill.dataset.index import Dataset
from wavemill.errors import InvalidIdError, UnknownSpectrogramError, UsageError
from wavemill_producer.ids import Checked, checked_ids


def test_ids_come_out_once_each_in_the_order_given_across_pages() -> None:
    checked = Checked()
    ids = [f"{i % 27_000}" for i in range(52_000)] + ["x", "x"]
    assert list(checked_ids(ids, dataset=None, checked=checked)) == [*(f"{i}" for i in range(27_000)), "x"]
    assert checked.duplicates == 25_001


def test_ids_are_taken_from_a_stream_as_they_are_needed() -> None:
    taken: list[int] = []

    def stream() -> Iterator[str]:
        for i in range(50_000):
            taken.append(i)
            yield f"{i}"

    assert next(checked_ids(stream(), dataset=None, checked=Checked())) == "0"
    assert len(taken) == 20_000


def test_an_unknown_id_refuses_all_and_is_named(small_dataset: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        known = list(dataset.ids())
        assert list(checked_ids(known, dataset=dataset, checked=Checked())) == known
        with pytest.raises(UnknownSpectrogramError, match=r"2 of the 22 IDs.*nine, ten.*--no-check-ids"):
            list(checked_ids([*known, "nine", "ten"], dataset=dataset, checked=Checked()))


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidIdError):
        list(checked_ids(["good", "../bad"], dataset=None, checked=Checked()))


def test_one_string_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(UsageError, match="put it into a list"):
        list(checked_ids("7_george_12", dataset=None, checked=Checked()))
