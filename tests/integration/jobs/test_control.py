"""Cancel and retry of batches larger than a page: the cancel is one row, and the jobs' rows follow."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from support.batches import (
    Outgoing,
    all_done,
    audit,
    chunk_ranges,
    claim,
    count_rows,
    failed,
    finish,
    job_rows,
    reclaim,
    seqs,
    states,
    submit,
)  # fmt: skip

from wavemill.errors import UsageError
from wavemill.jobs import control
from wavemill.jobs.claims import claim_chunk
from wavemill.jobs.control import cancel_batch, fail_stopped, pause_batch, resume_batch, retry_batch, settle_cancelled
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.queries import batch_is_final, batch_status, get_job, list_jobs
from wavemill.jobs.schema import batches, chunks
from wavemill.jobs.states import State

BOTH = [State.FAILED, State.CANCELLED]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few jobs be more than a page."""
    monkeypatch.setattr(control, "_PAGE", 5)


@pytest.fixture
def cancelled(database: Database) -> str:
    """A batch of 20 that was cancelled; the rows of the last 15 have not followed."""
    batch_id = submit(database, 20)
    assert cancel_batch(database, batch_id, budget_s=0) == 20
    assert [row.state for row in job_rows(database, batch_id)] == ["cancelled"] * 5 + ["queued"] * 15
    return batch_id


def test_a_cancelled_batch_is_finished_before_its_rows_have_followed(database: Database, cancelled: str) -> None:
    status = batch_status(database, cancelled)
    assert (status["state"], status["counts"]["cancelled"], status["counts"]["queued"]) == ("cancelled", 20, 0)
    assert batch_is_final(database, cancelled)


def test_nothing_of_a_cancelled_batch_is_sent_or_claimed(database: Database, cancelled: str) -> None:
    outgoing = Outgoing()
    assert publish_due(database, outgoing) == 0
    assert claim_chunk(database, cancelled, 16, 19, worker_id="late", lease_s=60) is None


def test_jobs_are_listed_as_they_are_not_as_their_rows_still_say(database: Database, cancelled: str) -> None:
    for batch_id in (cancelled, None):
        listed = list(list_jobs(database, batch_id=batch_id, state=State.CANCELLED, page=7))
        assert [row.seq for row in listed] == list(range(20))
        assert list(list_jobs(database, batch_id=batch_id, state=State.QUEUED)) == []
    assert {row.state for row in list_jobs(database, batch_id=cancelled)} == {"cancelled"}
    last = get_job(database, listed[-1].id)
    assert last["state"] == "cancelled"
    assert last["finished_at"] == listed[0].finished_at


def test_rows_follow_and_then_say_the_same(database: Database, cancelled: str) -> None:
    before = batch_status(database, cancelled)
    assert settle_cancelled(database) == 15
    assert settle_cancelled(database) == 0
    audit(database, cancelled)
    assert batch_status(database, cancelled) == {**before}


def test_rows_follow_a_page_at_least_in_the_time_that_a_sweep_has(database: Database, cancelled: str) -> None:
    assert [settle_cancelled(database, budget_s=0) for _ in range(4)] == [5, 5, 5, 0]
    audit(database, cancelled)


def test_jobs_of_stopped_batches_fail_a_page_at_least_in_the_time_that_a_sweep_has(database: Database) -> None:
    ids = [submit(database, 7), submit(database, 7)]
    with database.transaction() as connection:
        connection.execute(update(batches).values(stopped="stopped: it kills"))
    assert [fail_stopped(database, budget_s=0) for _ in range(5)] == [5, 2, 5, 2, 0]
    for batch_id in ids:
        audit(database, batch_id)
        assert states(database, batch_id) == {"failed": list(range(7))}


def test_a_cancel_lets_all_rows_follow_while_it_has_time(database: Database) -> None:
    batch_id = submit(database, 20)
    cancel_batch(database, batch_id)
    audit(database, batch_id)
    assert states(database, batch_id) == {"cancelled": list(range(20))}


def test_a_retry_right_after_the_cancel_queues_every_job_again(database: Database, cancelled: str) -> None:
    assert retry_batch(database, cancelled, states=BOTH, extra_attempts=3) == 20
    audit(database, cancelled)
    assert batch_status(database, cancelled)["state"] == "queued"
    assert seqs(claim(database, cancelled, 12, 15)) == [12, 13, 14, 15]


def test_a_retry_of_the_failed_alone_leaves_the_cancelled_cancelled(database: Database) -> None:
    batch_id = submit(database, 20, max_attempts=1)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, [failed(job) for job in claimed.jobs])
    cancel_batch(database, batch_id, budget_s=0)
    assert retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=1) == 4
    audit(database, batch_id)
    assert states(database, batch_id) == {"queued": [0, 1, 2, 3], "cancelled": list(range(4, 20))}


def test_a_retry_with_nothing_to_retry_does_not_take_the_cancel_back(database: Database, cancelled: str) -> None:
    assert retry_batch(database, cancelled, states=[State.FAILED], extra_attempts=1) == 0
    assert batch_status(database, cancelled)["state"] == "cancelled"
    audit(database, cancelled)


def test_running_jobs_of_a_cancelled_batch_end_as_cancelled_and_counters_agree(database: Database) -> None:
    batch_id = submit(database, 12)
    held = claim(database, batch_id, 0, 3)
    claim(database, batch_id, 4, 7, worker="dead", lease_s=-1.0)
    cancel_batch(database, batch_id, budget_s=0)
    finish(database, held, all_done(held)[:2])
    reclaim(database)
    settle_cancelled(database)
    audit(database, batch_id)
    assert states(database, batch_id) == {"done": [0, 1], "running": [2, 3], "cancelled": list(range(4, 12))}


def test_a_retry_covers_what_it_queues_by_messages_no_wider_than_a_chunk(database: Database) -> None:
    batch_id = submit(database, 20, max_attempts=1)
    claimed = claim(database, batch_id, 0, 19)
    assert count_rows(database, chunks) == 0
    finish(database, claimed, [failed(job) if job.seq % 3 == 0 else done for job, done in _pairs(claimed)])
    assert retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=1) == 7
    assert all(last - first < 4 for first, last in chunk_ranges(database, batch_id))
    audit(database, batch_id)


def test_what_fails_again_during_a_retry_is_not_tried_for_ever(database: Database) -> None:
    batch_id = submit(database, 12, max_attempts=1)
    claimed = claim(database, batch_id, 0, 11)
    finish(database, claimed, [failed(job) for job in claimed.jobs])
    moved, after = control._retry_page(database, batch_id, State.FAILED, 0, 1)
    again = claim(database, batch_id, 0, 4)
    finish(database, again, [failed(job) for job in again.jobs])
    assert moved == 5
    assert control._retry_page(database, batch_id, State.FAILED, after, 1)[0] == 5
    assert states(database, batch_id) == {"failed": [0, 1, 2, 3, 4, 10, 11], "queued": [5, 6, 7, 8, 9]}
    audit(database, batch_id)


def test_a_resumed_batch_is_as_it_was(database: Database) -> None:
    batch_id = submit(database, 8)
    control.pause_batch(database, batch_id)
    assert batch_status(database, batch_id)["state"] == "paused"
    resume_batch(database, batch_id)
    assert batch_status(database, batch_id)["state"] == "queued"
    audit(database, batch_id)


def _pairs(claimed):
    return zip(claimed.jobs, all_done(claimed), strict=True)


def test_a_cancel_of_a_finished_batch_changes_nothing(database: Database) -> None:
    batch_id = submit(database, 2)
    claimed = claim(database, batch_id, 0, 1)
    finish(database, claimed, all_done(claimed))
    assert cancel_batch(database, batch_id) == 0
    assert batch_status(database, batch_id)["state"] == "done"
    with pytest.raises(UsageError, match="is finished"):
        pause_batch(database, batch_id)
