from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event, select
from support.batches import (
    all_done,
    audit,
    chunk_ranges,
    claim,
    failed,
    finish,
    job_rows,
    reclaim,
    retried,
    seqs,
    states,
    submit,
)

from wavemill.errors import OutputError
from wavemill.jobs.claims import claim_chunk, claim_next, renew_leases
from wavemill.jobs.control import cancel_batch, pause_batch
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.queries import batch_status, get_job
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.schema import chunks, jobs
from wavemill.jobs.states import State
from wavemill.storage.folder import FolderStore


def test_a_claim_takes_its_range_counts_the_attempt_and_removes_its_chunk(database: Database) -> None:
    batch_id = submit(database, 10)
    claimed = claim(database, batch_id, 4, 7)
    assert seqs(claimed) == [4, 5, 6, 7]
    assert [job.attempt for job in claimed.jobs] == [1, 1, 1, 1]
    assert claimed.batch.output == "/out"
    assert chunk_ranges(database, batch_id) == [(0, 3), (8, 9)]
    row = job_rows(database, batch_id)[4]
    assert (row.state, row.attempt, row.worker_id) == ("running", 1, "w1")
    assert 59 < (row.lease_until - row.started_at).total_seconds() < 61
    audit(database, batch_id)


def test_a_message_that_comes_twice_finds_nothing_to_do(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    assert claim_chunk(database, batch_id, 0, 3, worker_id="w2", lease_s=60) is None
    finish(database, claimed, all_done(claimed))
    assert claim_chunk(database, batch_id, 0, 3, worker_id="w2", lease_s=60) is None
    assert [row.attempt for row in job_rows(database, batch_id)] == [1, 1, 1, 1]
    audit(database, batch_id)


def test_a_message_for_a_batch_that_is_gone_does_nothing(database: Database) -> None:
    assert claim_chunk(database, "20200101-000000-00000000", 0, 3, worker_id="w", lease_s=60) is None


def test_a_finish_records_results_and_the_last_one_finishes_the_batch(database: Database) -> None:
    batch_id = submit(database, 3, chunk_size=2)
    first, second = claim(database, batch_id, 0, 1), claim(database, batch_id, 2, 2)
    assert finish(database, first, all_done(first)) == 2
    assert batch_status(database, batch_id)["finished_at"] is None
    quality = {"peak": 0.5, "silent": False}
    outcome = Outcome(job=second.jobs[0], state=State.DONE, columns={"sha256": "ab" * 32, "quality": quality})
    assert finish(database, second, [outcome]) == 1
    row = job_rows(database, batch_id)[2]
    assert (row.state, row.sha256, row.quality, row.timings) == ("done", "ab" * 32, quality, None)
    assert row.started_at <= row.finished_at
    status = batch_status(database, batch_id)
    assert (status["state"], status["counts"]["done"], status["eta_s"]) == ("done", 3, 0.0)
    assert status["finished_at"] is not None
    audit(database, batch_id)


def test_a_finish_after_the_lease_was_lost_moves_nothing_and_places_nothing(database: Database) -> None:
    batch_id = submit(database, 2)
    zombie = claim(database, batch_id, 0, 1, worker="zombie", lease_s=0.001)
    assert reclaim(database) == 2
    heir = claim(database, batch_id, 0, 1, worker="heir")
    placed: list[str] = []
    assert finish(database, zombie, all_done(zombie, place=lambda: placed.append("zombie"))) == 0
    assert finish(database, heir, all_done(heir, place=lambda: placed.append("heir"))) == 2
    assert finish(database, zombie, all_done(zombie, place=lambda: placed.append("zombie"))) == 0
    assert placed == ["heir", "heir"]
    assert {(row.state, row.worker_id, row.attempt) for row in job_rows(database, batch_id)} == {("done", "heir", 2)}
    audit(database, batch_id)


def test_a_finish_is_fenced_by_the_attempt_where_the_worker_is_the_same(database: Database) -> None:
    batch_id = submit(database, 1)
    before = claim(database, batch_id, 0, 0, lease_s=0.001)
    reclaim(database)
    after = claim(database, batch_id, 0, 0)
    assert finish(database, before, [failed(before.jobs[0])]) == 0
    assert finish(database, after, all_done(after)) == 1


def test_a_finish_between_expiry_and_reclaim_still_counts(database: Database) -> None:
    batch_id = submit(database, 1)
    claimed = claim(database, batch_id, 0, 0, lease_s=0.001)
    assert finish(database, claimed, all_done(claimed)) == 1
    assert not reclaim_expired(database)
    assert states(database, batch_id) == {"done": [0]}


def test_work_given_back_does_not_count_as_an_attempt_and_goes_out_again_at_once(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    given_back = [Outcome(job=job, state=State.QUEUED) for job in claimed.jobs[1:]]
    finish(database, claimed, all_done(claimed)[:1] + given_back)
    assert [(row.state, row.attempt) for row in job_rows(database, batch_id)] == [("done", 1)] + [("queued", 0)] * 3
    assert chunk_ranges(database, batch_id) == [(1, 3)]
    assert get_job(database, claimed.jobs[1].id)["attempts"] == []
    audit(database, batch_id)


def test_a_transient_error_waits_its_delay_in_a_chunk_of_its_own(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, [*all_done(claimed)[:3], retried(claimed.jobs[3], delay_s=30)])
    assert states(database, batch_id) == {"done": [0, 1, 2], "queued": [3]}
    assert chunk_ranges(database, batch_id) == [(3, 3)]
    with database.reading() as connection:
        row = connection.execute(select(chunks)).one()
    job = get_job(database, claimed.jobs[3].id)
    assert 29 < (row.available_at - job["attempts"][0]["finished_at"]).total_seconds() < 31
    assert (job["attempt"], job["error_code"], job["error"]) == (1, "storage-unavailable", "full")
    assert job["attempts"][0]["outcome"] == "retry"
    again = claim(database, batch_id, 3, 3)
    assert again.jobs[0].attempt == 2
    assert job_rows(database, batch_id)[3].error is None
    audit(database, batch_id)


def test_a_permanent_error_fails_its_job_alone_and_says_why(database: Database) -> None:
    batch_id = submit(database, 2)
    claimed = claim(database, batch_id, 0, 1)
    finish(database, claimed, [failed(claimed.jobs[0]), all_done(claimed)[1]])
    row = job_rows(database, batch_id)[0]
    assert (row.state, row.error_code, row.error) == ("failed", "bad-spectrogram", "NaN")
    assert batch_status(database, batch_id)["state"] == "failed"
    audit(database, batch_id)


def test_an_error_that_quotes_what_no_table_stores_is_recorded_all_the_same(database: Database) -> None:
    batch_id = submit(database, 2)
    claimed = claim(database, batch_id, 0, 1)
    finish(database, claimed, [failed(claimed.jobs[0], OSError("a\0b, \udce9")), all_done(claimed)[1]])
    assert job_rows(database, batch_id)[0].error == "a\\0b, \\udce9"
    audit(database, batch_id)


@pytest.mark.parametrize("error", [OutputError("cannot write"), RuntimeError("a store's own kind of error")])
def test_an_output_that_cannot_be_placed_harms_its_own_job_only(database: Database, error: Exception) -> None:
    batch_id = submit(database, 2)
    claimed = claim(database, batch_id, 0, 1)

    def place() -> None:
        raise error

    outcomes = all_done(claimed)
    finish(database, claimed, [Outcome(job=claimed.jobs[0], state=State.DONE, place=place), outcomes[1]])
    assert states(database, batch_id) == {"failed": [0], "done": [1]}
    assert job_rows(database, batch_id)[0].error == str(error)
    audit(database, batch_id)


def test_done_and_the_file_under_its_name_come_together(database: Database, tmp_path: Path) -> None:
    batch_id = submit(database, 1)
    claimed = claim(database, batch_id, 0, 0)
    staged = FolderStore(tmp_path).stage("generated/set/0.wav", b"RIFF", token="w1")
    assert not (tmp_path / "generated/set/0.wav").exists()
    finish(database, claimed, [Outcome(job=claimed.jobs[0], state=State.DONE, place=staged.place)])
    assert (tmp_path / "generated/set/0.wav").read_bytes() == b"RIFF"
    assert states(database, batch_id) == {"done": [0]}


def test_a_renewed_lease_outlives_the_first_one(database: Database) -> None:
    batch_id = submit(database, 3, chunk_size=3)
    claimed = claim(database, batch_id, 0, 2, lease_s=0.001)
    assert renew_leases(database, [claimed], lease_s=60) == 3
    assert not reclaim_expired(database)
    finish(database, claimed, all_done(claimed)[:2])
    assert renew_leases(database, [claimed], lease_s=60) == 1
    assert renew_leases(database, [claimed], lease_s=0.001) == 1
    assert reclaim(database) == 1
    assert renew_leases(database, [claimed], lease_s=60) == 0


def test_a_paused_batch_starts_nothing(database: Database) -> None:
    batch_id = submit(database, 4)
    pause_batch(database, batch_id)
    assert claim_chunk(database, batch_id, 0, 3, worker_id="w", lease_s=60) is None
    assert claim_next(database, worker_id="w", lease_s=60) == ()
    assert chunk_ranges(database, batch_id) == [(0, 3)]
    audit(database, batch_id)


@pytest.mark.parametrize("error_code", [None, "storage-unavailable"])
def test_work_returned_to_a_batch_that_was_cancelled_meanwhile_is_cancelled(
    database: Database, error_code: str | None
) -> None:
    batch_id = submit(database, 2)
    claimed = claim(database, batch_id, 0, 1)
    assert cancel_batch(database, batch_id) == 0
    finish(database, claimed, [Outcome(job=job, state=State.QUEUED, error_code=error_code) for job in claimed.jobs])
    assert states(database, batch_id) == {"cancelled": [0, 1]}
    assert batch_status(database, batch_id)["state"] == "cancelled"
    audit(database, batch_id)


def test_a_job_that_was_given_back_and_cancelled_shows_no_error(database: Database) -> None:
    batch_id = submit(database, 1)
    claimed = claim(database, batch_id, 0, 0)
    finish(database, claimed, [Outcome(job=claimed.jobs[0], state=State.CANCELLED)])
    with database.reading() as connection:
        row = connection.execute(select(jobs.c.state, jobs.c.error, jobs.c.lease_until)).one()
    assert tuple(row) == ("cancelled", None, None)


def test_a_claim_looks_for_chunks_that_go_first_by_their_index(database: Database) -> None:
    batch_id = submit(database, 1_000, chunk_size=1)
    asked = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().startswith("SELECT chunks.id") and "LIMIT" in statement:
            asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    claim_next(database, worker_id="w", lease_s=20)
    event.remove(database.engine, "before_cursor_execute", keep)
    explain = "EXPLAIN " if database.is_postgresql else "EXPLAIN QUERY PLAN "
    statement, parameters = asked[0]
    with database.reading() as connection:
        plan = str(
            connection.exec_driver_sql(explain + statement.replace("FOR UPDATE SKIP LOCKED", ""), parameters).all()
        )
    assert "ix_chunks_again" in plan, plan
    assert batch_id in str(parameters)
