from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select, text
from support.batches import all_done, claim, failed, finish, job_rows, submit

from wavemill.errors import DatabaseUnavailableError, NotFoundError, SettingsError
from wavemill.jobs.control import cancel_batch, ordered_state, pause_batch, retry_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.queries import batch_is_final, batch_status, get_job, list_batches, list_jobs, list_workers
from wavemill.jobs.states import State
from wavemill.jobs.workers import beat, register_worker, unregister_worker


def test_a_status_has_the_fields_that_scripts_rely_on(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, [*all_done(claimed)[:1], failed(claimed.jobs[1])])
    status = batch_status(database, batch_id)
    assert list(status)[:10] == [
        "id",
        "name",
        "operation",
        "model",
        "state",
        "total",
        "counts",
        "created_at",
        "finished_at",
        "jobs_per_second",
    ]
    assert status["counts"] == {"queued": 0, "running": 2, "done": 1, "failed": 1, "cancelled": 0}
    assert (status["state"], status["finished_at"]) == ("running", None)
    assert status["eta_s"] == pytest.approx(2 / status["jobs_per_second"], rel=0.05, abs=0.1)
    assert status["created_at"].tzinfo is not None
    assert not batch_is_final(database, batch_id)
    finish(database, claimed, all_done(claimed)[2:])
    assert batch_is_final(database, batch_id)
    assert batch_status(database, batch_id)["state"] == "failed"


def test_jobs_are_listed_by_key_page_by_page_each_once(database: Database) -> None:
    other, batch_id = submit(database, 5), submit(database, 23)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, all_done(claimed)[:2])
    everything = list(list_jobs(database, page=4))
    assert [row.id for row in everything] == sorted(row.id for row in everything)
    assert len(everything) == 28
    mine = list(list_jobs(database, batch_id=batch_id, page=4))
    assert [row.seq for row in mine] == list(range(23))
    after = mine[6].id
    assert [row.seq for row in list_jobs(database, batch_id=batch_id, after=after, limit=9, page=4)] == [*range(7, 16)]
    assert [row.seq for row in list_jobs(database, batch_id=batch_id, state=State.RUNNING)] == [2, 3]
    assert [row.seq for row in list_jobs(database, state=State.DONE, page=1)] == [0, 1]
    assert list(list_jobs(database, batch_id=other, after=after)) == []
    assert list(list_jobs(database, limit=0)) == []


def test_a_job_tells_its_batchs_request_and_every_attempt(database: Database) -> None:
    batch_id = submit(database, 1)
    claimed = claim(database, batch_id, 0, 0, worker="a")
    finish(database, claimed, [failed(claimed.jobs[0])])
    retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=1)
    claimed = claim(database, batch_id, 0, 0, worker="b")
    finish(database, claimed, all_done(claimed))
    job = get_job(database, claimed.jobs[0].id)
    assert (job["model"], job["params"], job["operation"]) == ("small", {"method": "pghi+gl"}, "reconstruct")
    assert [(a["attempt"], a["worker_id"], a["outcome"]) for a in job["attempts"]] == [
        (1, "a", "failed"),
        (2, "b", "done"),
    ]


def test_what_is_not_there_is_said_with_where_to_look(database: Database) -> None:
    for ask in (batch_status, cancel_batch, pause_batch):
        with pytest.raises(NotFoundError, match=r"no batch 'nope'.*wavemill status"):
            ask(database, "nope")
    with pytest.raises(NotFoundError, match="no job 99"):
        get_job(database, 99)
    assert ordered_state(database, "nope") is State.CANCELLED


def test_batches_are_listed_newest_first(database: Database) -> None:
    ids = [submit(database, 1) for _ in range(4)]
    listed = [status["id"] for status in list_batches(database, limit=3)]
    assert set(listed) <= set(ids)
    created = [status["created_at"] for status in list_batches(database)]
    assert created == sorted(created, reverse=True)


def test_retry_takes_the_failed_alone_or_the_cancelled_too(database: Database) -> None:
    batch_id = submit(database, 8, max_attempts=1)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, [*all_done(claimed)[:2], *[failed(job) for job in claimed.jobs[2:]]])
    cancel_batch(database, batch_id)
    assert retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=3) == 2
    rows = job_rows(database, batch_id)
    assert [row.state for row in rows] == ["done"] * 2 + ["queued"] * 2 + ["cancelled"] * 4
    assert [(row.attempt, row.max_attempts, row.error) for row in rows[2:4]] == [(1, 4, None)] * 2
    assert retry_batch(database, batch_id, states=[State.FAILED, State.CANCELLED], extra_attempts=3) == 4
    assert retry_batch(database, batch_id, states=[State.FAILED, State.CANCELLED], extra_attempts=3) == 0
    assert batch_status(database, batch_id)["counts"]["queued"] == 6


def test_workers_are_listed_while_their_heart_beats(database: Database) -> None:
    for name in ("a", "b", "a"):  # again: the answer to the first time may have been lost
        register_worker(database, name, host="h", pid=7, device="gpu0")
    beat(database, "a", jobs_done=12, jobs_per_second=3.5)
    found = list_workers(database, alive_within_s=60)
    assert [(w["id"], w["jobs_done"], w["jobs_per_second"]) for w in found] == [("a", 12, 3.5), ("b", 0, None)]
    unregister_worker(database, "a")
    assert [w["id"] for w in list_workers(database, alive_within_s=60)] == ["b"]
    assert list_workers(database, alive_within_s=-1) == []


def test_the_databases_clock_is_utc_and_moves(database: Database) -> None:
    with database.reading() as connection:
        early, late = connection.execute(select(now(), now(90.5))).one()
    assert abs((early - dt.datetime.now(dt.UTC)).total_seconds()) < 5
    assert (late - early).total_seconds() == pytest.approx(90.5, abs=0.1)


def test_a_database_that_is_not_there_is_a_transient_error_without_the_password() -> None:
    database = Database("postgresql+psycopg://someone:s3cret@127.0.0.1:1/wavemill")
    with pytest.raises(DatabaseUnavailableError, match="WAVEMILL_DATABASE_URL") as caught, database.reading():
        pass
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in database.name


def test_a_connection_that_the_server_cut_is_a_transient_error_and_the_next_one_works(database: Database) -> None:
    if not database.is_postgresql:
        pytest.skip("SQLite has no connections to cut")
    with pytest.raises(DatabaseUnavailableError), database.transaction() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    submit(database, 1)


def test_a_url_of_no_database_that_wavemill_knows_names_its_variable() -> None:
    for url in ("nonsense", "oracle+nothing://u:s3cret@h/d", "sqlite:////proc/nothing/table.db"):
        with pytest.raises(SettingsError, match="WAVEMILL_") as caught:
            Database(url)
        assert "s3cret" not in str(caught.value)
