"""What a caller says about a job: written with it, filtered by, and part of what an idempotency key stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.batches import job_rows, new_jobs, request, submit

from wavemill.errors import UsageError
from wavemill.jobs import filtered
from wavemill.jobs.database import Database
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import parse
from wavemill.jobs.submit import NewJob, write_batch
from wavemill_producer import Producer

NAMED: list[NewJob] = [
    ("a", None, "order-1", {"speaker": "theo", "take": 7, "address": {"city": "Basel"}, "paid": True}),
    ("b", None, "order-2", {"speaker": "Theodor", "take": "7", "score": -1.5}),
    ("c", None, "order_3", {"speaker": None, "when": "2026-11-02"}),
    ("d", None),
    ("e", {"of": "d"}, None, {"speaker": 'say "x"\\ %_'}),
]


@pytest.fixture
def batch_id(database: Database) -> str:
    return write_batch(database, request(), NAMED)[0]


def test_what_is_said_about_a_job_is_stored_with_it(database: Database, batch_id: str) -> None:
    rows = job_rows(database, batch_id)
    assert [(row.spectrogram_id, row.item, row.custom_id, row.metadata) for row in rows] == [
        (*job, None, None)[:4] for job in NAMED
    ]


# A condition -> the jobs that meet it.
WHERE = {
    "custom_id=order-*": "ab",
    "custom_id=order_3": "c",
    "custom_id=none": "de",
    "metadata.speaker=theo": "a",
    "metadata.speaker=[Tt]*": "",
    "metadata.speaker=T*": "b",
    "metadata.speaker!=T*": "acde",
    "metadata.speaker=none": "cd",
    "metadata.speaker!=none": "abe",
    'metadata.speaker=say "x"\\ %_': "e",
    "metadata.take=7": "ab",
    "metadata.take=7.0": "a",
    "metadata.take!=7": "cde",
    "metadata.take>=7": "a",
    "metadata.score<0": "b",
    "metadata.when>=2026-11": "c",
    "metadata.address.city=Basel": "a",
    "metadata.paid=true": "a",
    "metadata.paid=1": "",
}


def test_jobs_are_found_by_what_is_said_about_them(database: Database, batch_id: str) -> None:
    for where, expected in WHERE.items():
        page = filtered_page(database, batch_id=batch_id, conditions=parse([where]))
        assert "".join(row["spectrogram_id"] for row in page.rows) == expected, where


@pytest.mark.parametrize("key", ["a,b", "a}b", "{", "null", " a", "a b", "a'b", "é", "$", "[0]", "0", "%s"])
def test_any_key_of_metadata_can_be_filtered_by(database: Database, key: str) -> None:
    batch_id, _ = write_batch(database, request(), [("a", None, None, {key: {key: "v"}}), ("b", None)])
    for where, expected in ((f"metadata.{key}.{key}=v", "a"), (f"metadata.{key}.{key}=none", "b")):
        page = filtered_page(database, batch_id=batch_id, conditions=parse([where]))
        assert "".join(row["spectrogram_id"] for row in page.rows) == expected, where


def test_a_number_in_a_key_is_no_place_in_an_array(database: Database) -> None:
    batch_id, _ = write_batch(
        database, request(), [("a", None, None, {"a": ["v"]}), ("b", None, None, {"a": {"0": "v"}})]
    )
    page = filtered_page(database, batch_id=batch_id, conditions=parse(["metadata.a.0=v"]))
    assert [row["spectrogram_id"] for row in page.rows] == ["b"]


def test_a_custom_id_is_found_among_many_jobs_at_once(
    database: Database, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(database, 50)
    again, _ = write_batch(database, request(), NAMED)
    monkeypatch.setattr(filtered, "MOST_LOOKED_AT", 10)
    monkeypatch.setattr(filtered, "_WINDOW", 10)
    page = filtered_page(database, conditions=parse(["custom_id=order-2", "metadata.score<0"]))
    assert ([row["batch_id"] for row in page.rows], page.seen, page.after) == ([batch_id, again], 2, None)


@pytest.mark.parametrize("field", ["metadata.", "metadata.a..b", 'metadata.a"b', "metadata.a\\b"])
def test_a_key_that_no_filter_can_reach_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match="there is no field"):
        parse([f"{field}=x"])


def test_what_is_said_about_jobs_is_part_of_what_a_key_stands_for(database: Database) -> None:
    keyed = replace(request(), key="nightly")
    first = write_batch(database, keyed, NAMED)
    assert write_batch(database, keyed, NAMED) == first
    for other in (new_jobs("abcd"), [*NAMED[:4], ("e", {"of": "d"}, None, {"speaker": "other"})]):
        with pytest.raises(UsageError, match="custom_id or metadata"):
            write_batch(database, keyed, other)


def test_the_operations_take_ids_with_names(
    producer: Producer, database: Database, small_dataset: Path, tmp_path: Path
) -> None:
    about: dict[str, Any] = {"custom_id": "order-19", "metadata": {"speaker": "theo"}}
    given = [{"id": "7_anna_0", **about}, "4_dan_0", {"id": "7_anna_0", **about}]
    place = {"dataset": small_dataset, "output": tmp_path / "out"}
    batch = producer.invert(given, **place)
    assert [(job.spectrogram_id, job.custom_id, job.metadata) for job in batch.jobs()] == [
        ("7_anna_0", *about.values()),
        ("4_dan_0", None, None),
    ]
    assert [job.spectrogram_id for job in batch.jobs(where=["custom_id=order-*"])] == ["7_anna_0"]
    frame = batch.to_pandas()
    assert (frame["custom_id"].iloc[0], frame["metadata_speaker"].iloc[0]) == ("order-19", "theo")
    with pytest.raises(UsageError, match="7_anna_0 comes twice, with another custom_id"):
        producer.invert([*given, {"id": "7_anna_0", "custom_id": "order-20"}], **place)
