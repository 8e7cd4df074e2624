"""Rate and time left: told by the recent past, whatever lay before it."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from support.batches import all_done, claim, finish, submit

from wavemill.jobs.control import cancel_batch, pause_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.queries import all_left, batch_status, expected_rate
from wavemill.jobs.schema import batches
from wavemill.jobs.workers import beat, register_worker


def _work(database: Database, batch_id: str, first: int, last: int, worker: str = "w1") -> None:
    claimed = claim(database, batch_id, first, last, worker=worker)
    finish(database, claimed, all_done(claimed))


def _ago(database: Database, batch_id: str, **columns: float) -> None:
    """Let it be so many seconds since what the columns say."""
    with database.transaction() as connection:
        values = {name: now(-seconds) for name, seconds in columns.items()}
        connection.execute(update(batches).where(batches.c.id == batch_id).values(values))


def test_the_time_that_a_batch_waited_does_not_ruin_its_time_left(database: Database) -> None:
    batch_id = submit(database, 40)
    _ago(database, batch_id, created_at=7_200)
    assert (batch_status(database, batch_id)["jobs_per_second"], batch_status(database, batch_id)["eta_s"]) == (
        None,
        None,
    )
    _work(database, batch_id, 0, 9)
    _ago(database, batch_id, mark_at=25, newer_mark_at=25)
    _work(database, batch_id, 10, 19)
    status = batch_status(database, batch_id)
    assert status["jobs_per_second"] == pytest.approx(20 / 25, rel=0.2)
    assert status["eta_s"] == pytest.approx(20 / status["jobs_per_second"], rel=0.01)


def test_work_of_every_worker_counts(database: Database) -> None:
    batch_id = submit(database, 40)
    held = [claim(database, batch_id, 10 * k, 10 * k + 9, worker=f"w{k}") for k in range(3)]
    for one in held:
        finish(database, one, all_done(one))
    _ago(database, batch_id, mark_at=25, newer_mark_at=25)
    assert batch_status(database, batch_id)["jobs_per_second"] == pytest.approx(30 / 25, rel=0.2)


def test_only_the_recent_past_counts_once_there_is_enough_of_it(database: Database) -> None:
    batch_id = submit(database, 400)
    _work(database, batch_id, 0, 199)  # fast, long ago
    _ago(database, batch_id, mark_at=500, newer_mark_at=40)
    _work(database, batch_id, 200, 209)  # the newer mark becomes the older one
    _ago(database, batch_id, mark_at=40)
    _work(database, batch_id, 210, 219)
    rate = batch_status(database, batch_id)["jobs_per_second"]
    assert rate == pytest.approx(_final_since_mark(database, batch_id) / 40, rel=0.1)
    assert rate < 6


def _final_since_mark(database: Database, batch_id: str) -> int:
    with database.reading() as connection:
        row = connection.execute(batches.select().where(batches.c.id == batch_id)).one()
    return int(row.done - row.mark_final)


def test_work_that_goes_on_after_a_night_is_counted_anew(database: Database) -> None:
    batch_id = submit(database, 40)
    _work(database, batch_id, 0, 9)
    pause_batch(database, batch_id)
    _ago(database, batch_id, mark_at=30_000, newer_mark_at=29_970)
    assert batch_status(database, batch_id)["eta_s"] is None, "nobody works on it"
    with database.transaction() as connection:
        connection.execute(update(batches).values(paused_at=None))
    claimed = claim(database, batch_id, 10, 19)
    _ago(database, batch_id, mark_at=25, newer_mark_at=25)
    finish(database, claimed, all_done(claimed))
    assert batch_status(database, batch_id)["jobs_per_second"] == pytest.approx(10 / 25, rel=0.2)


def test_a_finished_batch_keeps_its_rate_and_has_no_time_left(database: Database) -> None:
    batch_id = submit(database, 10)
    claimed = claim(database, batch_id, 0, 9)
    _ago(database, batch_id, mark_at=25, newer_mark_at=25)
    finish(database, claimed, all_done(claimed))
    status = batch_status(database, batch_id)
    assert (status["state"], status["eta_s"]) == ("done", 0.0)
    assert status["jobs_per_second"] == pytest.approx(10 / 25, rel=0.2)


def test_a_cancel_is_no_work(database: Database) -> None:
    batch_id = submit(database, 1_000)
    cancel_batch(database, batch_id)
    assert batch_status(database, batch_id)["jobs_per_second"] is None


def test_all_batches_together_have_a_time_left(database: Database) -> None:
    assert all_left(database) == {"jobs_left": 0, "jobs_per_second": None, "eta_s": 0.0}
    batch_ids = [submit(database, 40) for _ in range(2)]
    for batch_id in batch_ids:
        _work(database, batch_id, 0, 9)
    for batch_id in batch_ids:
        _ago(database, batch_id, mark_at=20, newer_mark_at=20)
    left = all_left(database)
    assert left["jobs_left"] == 60
    assert left["eta_s"] == pytest.approx(60, rel=0.2)


def test_the_rate_to_expect_is_the_newest_like_batch_or_else_the_workers(database: Database) -> None:
    like = {"operation": "reconstruct", "model_digest": "0" * 64, "alive_within_s": 60}
    assert expected_rate(database, **like) == (
        None,
        "no batch of this operation and model was rendered yet, and no living worker has rendered",
    )
    register_worker(database, "w1", host="h", pid=1, device="cpu")
    beat(database, "w1", jobs_done=12, jobs_per_second=7.0)
    rate, source = expected_rate(database, **like)
    assert rate == 7.0
    assert "1 living workers" in source
    batch_id = submit(database, 10)
    claimed = claim(database, batch_id, 0, 9)
    _ago(database, batch_id, mark_at=25, newer_mark_at=25)
    finish(database, claimed, all_done(claimed))
    rate, source = expected_rate(database, **like)
    assert rate == pytest.approx(10 / 25, rel=0.2)
    assert batch_id in source
    assert expected_rate(database, **{**like, "operation": "sample"})[0] == 7.0


def test_many_small_batches_together_have_a_steady_rate(database: Database) -> None:
    batch_ids = [submit(database, 1) for _ in range(6)]
    seen = []
    for k, batch_id in enumerate(batch_ids[:-1]):
        claimed = claim(database, batch_id, 0, 0)
        if k:
            seen.append(all_left(database)["jobs_per_second"])  # the one in hand has no rate of its own yet
        _ago(database, batch_id, mark_at=25 - 2 * k, newer_mark_at=25 - 2 * k)
        finish(database, claimed, all_done(claimed))
    assert seen[-1] == pytest.approx(4 / 25, rel=0.2)
    assert None not in seen


def test_a_batch_that_ended_counts_for_the_part_that_was_lately(database: Database) -> None:
    before, after = submit(database, 60), submit(database, 60)
    for batch_id in (before, after):
        _work(database, batch_id, 0, 59 if batch_id == before else 9)
    _ago(database, before, mark_at=70, newer_mark_at=70, finished_at=10)
    _ago(database, after, mark_at=10, newer_mark_at=10)
    assert all_left(database)["jobs_per_second"] == pytest.approx((20 * 60 / 60 + 10) / 30, rel=0.2)
