"""Filters of jobs, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete, update
from support.batches import claim, failed, finish, job_rows, submit
from support.batches import seqs as seqs_of

from wavemill.errors import UsageError
from wavemill.jobs import bulk, filtered, sorting, summary
from wavemill.jobs.database import Database
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import parse
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.queries import batch_status
from wavemill.jobs.ratings import rate
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.sorting import listed_page, order_in
from wavemill.jobs.states import State


@pytest.fixture
def batch_id(database: Database) -> str:
    """Ten jobs: 0 to 5 are done with a distance of as many dB, 6 and 7 have failed, 8 and 9 are queued."""
    batch_id = submit(database, 10, chunk_size=8)
    claimed = claim(database, batch_id, 0, 7)
    done = [
        Outcome(job=job, state=State.DONE, columns={"quality": {"log_spectral_distance_db": float(job.seq)}})
        for job in claimed.jobs[:6]
    ]
    finish(database, claimed, [*done, *(failed(job) for job in claimed.jobs[6:])])
    return batch_id


def seqs(database: Database, batch_id: str | None, *where: str) -> list[int]:
    return [row["seq"] for row in filtered_page(database, batch_id=batch_id, conditions=parse(where)).rows]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], list(range(10))),
        (["state=failed"], [6, 7]),
        (["state!=done"], [6, 7, 8, 9]),
        (["error_code=bad-*"], [6, 7]),
        (["log_spectral_distance_db<2.5"], [0, 1, 2]),
        (["log_spectral_distance_db=none"], [6, 7, 8, 9]),
        (["log_spectral_distance_db>1", "id=set/?", "log_spectral_distance_db<=3"], [2, 3]),
        (["id=set/[0-9]"], []),
        (["id=SET/*"], []),
        (["attempt>=1", "state=done", "log_spectral_distance_db!=3"], [0, 1, 2, 4, 5]),
        (["created_at>2000-01-01", "created_at<2001-01-01"], []),
    ],
)
def test_a_filter_finds_the_jobs_that_meet_all_conditions(
    database: Database, batch_id: str, where: list[str], expected: list[int]
) -> None:
    assert seqs(database, batch_id, *where) == expected
    assert seqs(database, None, *where) == expected


def sorted_seqs(database: Database, batch_id: str | None, order: str, *where: str) -> list[int]:
    """All jobs in an order, read three at a time."""
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        page = listed_page(
            database, batch_id=batch_id, conditions=parse(where), order=order_in(order), after=after, limit=3
        )
        found += [row["seq"] for row in page.rows]
        after = page.after
    return found


def test_jobs_are_sorted_by_a_field_those_without_it_last(database: Database, batch_id: str) -> None:
    ids = [row.id for row in job_rows(database, batch_id)]
    rate(database, [ids[1], ids[6]], 2)
    rate(database, [ids[4]], 5)
    for of in (batch_id, None):
        assert sorted_seqs(database, of, "-log_spectral_distance_db") == [5, 4, 3, 2, 1, 0, 6, 7, 8, 9]
        assert sorted_seqs(database, of, "rating") == [1, 6, 4, 0, 2, 3, 5, 7, 8, 9]
        assert sorted_seqs(database, of, "-rating", "state=done") == [4, 1, 0, 2, 3, 5]
        assert sorted_seqs(database, of, "-id", "state=failed") == [7, 6]
        assert sorted_seqs(database, of, "-created_at", "state=running") == []


def test_more_jobs_than_can_be_sorted_at_once_are_not_sorted(
    database: Database, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "MOST_SORTED", 7)
    assert not sorting.can_sort(database, batch_id=batch_id, conditions=())
    assert sorting.can_sort(database, batch_id=batch_id, conditions=parse(["state=done"]))
    assert sorted_seqs(database, batch_id, "-id", "state=done") == [5, 4, 3, 2, 1, 0]
    with pytest.raises(UsageError, match="choose fewer"):
        sorted_seqs(database, batch_id, "-id")
    with pytest.raises(UsageError, match="no field 'worth'"):
        order_in("-worth")


def test_ratings_are_given_changed_filtered_and_taken_away(database: Database, batch_id: str) -> None:
    ids = [row.id for row in job_rows(database, batch_id)]
    assert rate(database, ids[:3], 5) == 3
    assert rate(database, ids[2:3], 2) == 1
    assert seqs(database, batch_id, "rating>=4") == [0, 1]
    assert seqs(database, None, "rating<3") == [2]
    assert seqs(database, batch_id, "rating=none", "state=done") == [3, 4, 5]
    assert rate(database, ids[:1], None) == 1
    assert seqs(database, batch_id, "rating=5") == [1]
    assert rate(database, [10**9], 3) == 0
    with pytest.raises(UsageError, match="from 1 to 5"):
        rate(database, ids, 6)


def test_a_page_goes_on_where_the_last_one_ended(database: Database, batch_id: str) -> None:
    conditions = parse(["state=done"])
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        page = filtered_page(database, batch_id=batch_id, conditions=conditions, after=after, limit=4)
        found += [row["seq"] for row in page.rows]
        after = page.after
    assert found == [0, 1, 2, 3, 4, 5]


def test_one_call_looks_at_a_bounded_number_of_jobs(
    database: Database, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "_WINDOW", 2)
    monkeypatch.setattr(filtered, "MOST_LOOKED_AT", 4)
    page = filtered_page(database, batch_id=batch_id, conditions=parse(["log_spectral_distance_db=5"]))
    assert (list(page.rows), page.seen) == ([], 4)
    assert page.after == job_rows(database, batch_id)[3].id
    again = filtered_page(
        database, batch_id=batch_id, conditions=parse(["log_spectral_distance_db=5"]), after=page.after
    )
    assert [row["seq"] for row in again.rows] == [5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sate=done", "there is no field 'sate'; fields: state, flag"),
        ("state=finished", "expected one of queued, running, done, failed, cancelled"),
        ("state>done", "expected = or !="),
        ("rating>=good", "expected a number"),
        ("created_at>yesterday", "expected a date or a time"),
        ("id=*a*b*c*d*e", "at most 4 asterisks"),
        ("done", "is no condition"),
        ("id=" + "x" * 400, "up to 300 characters"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_is_right(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([text])
    assert says in str(caught.value)


def test_a_retry_takes_only_matching_jobs_however_many_there_are(database: Database) -> None:
    batch_id = submit(database, 25_000, chunk_size=1_000)
    with database.transaction() as connection:
        of_batch = update(jobs).where(jobs.c.batch_id == batch_id)
        connection.execute(of_batch.values(state="failed", error_code="bad-spectrogram", attempt=3))
        connection.execute(of_batch.where(jobs.c.seq % 5 < 2).values(error_code="storage-error"))
        connection.execute(update(batches).values(queued=0, failed=25_000))
        connection.execute(delete(chunks))
    where, params = ["error_code=storage-*"], {"extra_attempts": 2}
    action_id = bulk.start(database, bulk.Action.RETRY, batch_id=batch_id, where=where, params=params, is_mine=True)
    assert bulk.run(database, action_id)["changed"] == 10_000
    queued = [row for row in job_rows(database, batch_id) if row.state == State.QUEUED]
    assert [row.seq for row in queued] == [seq for seq in range(25_000) if seq % 5 < 2]
    assert {(row.error_code, row.max_attempts) for row in queued} == {(None, 5)}
    assert batch_status(database, batch_id)["counts"] | {"queued": 0, "failed": 0} == dict.fromkeys(State, 0)
    assert [batch_status(database, batch_id)["counts"][state] for state in ("queued", "failed")] == [10_000, 15_000]
    assert seqs_of(claim(database, batch_id, 0, 9)) == [0, 1, 5, 6]


def test_failures_are_grouped_by_reason(database: Database, batch_id: str) -> None:
    claimed = claim(database, batch_id, 8, 9)
    finish(database, claimed, [failed(claimed.jobs[0]), replace(failed(claimed.jobs[1]), error_code="bad-model")])
    groups = summary.failure_groups(database, batch_id)
    assert [(group.error_code, group.count) for group in groups] == [("bad-spectrogram", 3), ("bad-model", 1)]
    assert groups[0].error == "NaN"


def test_the_figures_of_a_batch_count_its_done_jobs(database: Database, batch_id: str) -> None:
    figures = summary.batch_figures(database, batch_id, fields=("log_spectral_distance_db", "rms_dbfs"))
    histogram = figures.histograms["log_spectral_distance_db"]
    assert sum(histogram.counts) == 6
    assert (histogram.edges[0], histogram.edges[-1]) == (0.0, 5.0)
    assert "rms_dbfs" not in figures.histograms
