"""IDs with a custom ID and metadata: what is accepted, and what would harm a database or a listing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from wavemill.errors import InvalidIdError, UsageError
from wavemill.operations.named_ids import named_id, named_pair, parsed_line
from wavemill_producer.ids import Checked, checked_ids, interpolation_jobs, plain_jobs, variation_jobs

ABOUT: dict[str, Any] = {"custom_id": "order-19", "metadata": {"speaker": "theo"}}


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"k": value}
    return value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"custom_id": "x"}, "expected an object with id, custom_id, metadata"),
        ({"id": "a", "speaker": "theo"}, "expected an object with id"),
        ({"id": "a", "custom_id": ""}, "1 to 200 printable"),
        ({"id": "a", "custom_id": "x" * 201}, "1 to 200 printable"),
        ({"id": "a", "custom_id": "line\nend"}, "1 to 200 printable"),
        ({"id": "a", "custom_id": 19}, "1 to 200 printable"),
        ({"id": "a", "metadata": ["theo"]}, "expected a JSON object"),
        ({"id": "a", "metadata": {"k": "\0"}}, "no NUL"),
        ({"id": "a", "metadata": {"\ud800": 1}}, "no NUL"),
        ({"id": "a", "metadata": {"k": float("nan")}}, "finite numbers"),
        ({"id": "a", "metadata": {"k": 10**400}}, "finite numbers"),
        ({"id": "a", "metadata": deep(17)}, "at most 16 levels"),
        ({"id": "a", "metadata": {"k": "ü" * 2_048}}, "at most 4096"),
    ],
)
def test_a_wrong_object_is_refused_with_what_is_right(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        named_id(given)


def test_an_id_in_an_object_is_checked_like_any_other() -> None:
    for given in ({"id": "../up"}, {"id": 7}):
        with pytest.raises(InvalidIdError):
            named_id(given)
    with pytest.raises(UsageError, match="expected an object with from, to"):
        named_pair({"id": "a"})


def test_a_line_is_json_only_if_it_begins_like_an_object() -> None:
    assert parsed_line('{"id": "a", "custom_id": "x"}') == {"id": "a", "custom_id": "x"}
    assert [parsed_line(line) for line in ("7_theo_3", "{take} 3", '"quoted"')] == ["7_theo_3", "{take} 3", '"quoted"']
    for line in ('{"id": "a"', '{"a":' * 10_000):
        with pytest.raises(UsageError, match="expected an ID, or a JSON object"):
            parsed_line(line)


def test_variations_and_steps_carry_what_is_said_about_their_source() -> None:
    said = tuple(ABOUT.values())
    ids = checked_ids(["a", {"id": "b", **ABOUT}], dataset=None, checked=Checked())
    assert list(variation_jobs(ids, 1)) == [("a_vary-1", {"of": "a"}), ("b_vary-1", {"of": "b"}, *said)]
    pairs = [("a", "b"), {"from": "b", "to": "c", **ABOUT}]
    steps = list(interpolation_jobs(pairs, 2, dataset=None, checked=Checked()))
    assert [job[2:] for job in steps] == [(), (), said, said]


def test_the_same_said_twice_is_queued_once_and_anything_else_is_refused_across_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wavemill_producer.ids._PAGE", 2)
    same, other = {"id": "a", **ABOUT}, {"id": "a", "custom_id": "other"}

    def jobs(*ids: Any) -> list[Any]:
        return list(plain_jobs(checked_ids(ids, dataset=None, checked=Checked())))

    named = ("a", None, *ABOUT.values())
    assert jobs(same, same, "b", "a", same) == [named, ("b", None)]
    for given in ([same, other], [same, "b", other], ["a", same]):
        with pytest.raises(UsageError, match="a comes twice"):
            jobs(*given)
    pair = {"from": "a", "to": "b", **ABOUT}
    pairs: Iterable[Any] = [pair, ("c", "d"), pair, {**pair, "custom_id": "other"}]
    with pytest.raises(UsageError, match="comes twice"):
        list(interpolation_jobs(pairs, 2, dataset=None, checked=Checked()))
