from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from wavemill.dataset.index import Dataset
from wavemill.errors import InvalidIdError, UnknownSpectrogramError, UsageError
from wavemill_producer.ids import Checked, checked_ids, interpolation_jobs


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


def names_of(pairs: Iterable[tuple[str, str]], checked: Checked | None = None) -> Iterator[str]:
    jobs = interpolation_jobs(pairs, 2, dataset=None, checked=checked or Checked())
    return (name for name, _ in jobs)


def test_a_pair_that_comes_twice_is_queued_once_across_pages() -> None:
    checked = Checked()
    pairs = [(f"a{i % 15_000}", "b") for i in range(45_000)]
    assert list(names_of(pairs, checked)) == [f"a{i}_to_b_step-{k}-of-2" for i in range(15_000) for k in (1, 2)]
    assert checked.duplicates == 30_000


@pytest.mark.parametrize("between", [0, 25_000])
def test_two_pairs_of_one_name_are_refused(between: int) -> None:
    others = [(f"{i}", "x") for i in range(between)]
    with pytest.raises(UsageError, match=r"\('a_to_b', 'c'\) and \('a', 'b_to_c'\) would both be named 'a_to_b_to_c'"):
        list(names_of([("a_to_b", "c"), *others, ("a", "b_to_c")]))


def test_memory_does_not_grow_with_the_number_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavemill_producer.ids._PAGE", 1_000)  # fewer pairs will show it

    def held_after(n_pairs: int) -> int:
        tracemalloc.start()
        for _ in names_of((f"start-{i:030}", f"end-{i:030}") for i in range(n_pairs)):
            pass
        return tracemalloc.get_traced_memory()[1]

    try:
        peaks = [held_after(n) for n in (2_000, 10_000)]
    finally:
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_an_unknown_id_with_spaces_around_it_is_named_in_quotation_marks(small_dataset: Path) -> None:
    with Dataset.open(small_dataset) as dataset, pytest.raises(UnknownSpectrogramError, match="looked at: 'x '"):
        list(checked_ids(["x "], dataset=dataset, checked=Checked()))
