from __future__ import annotations

import datetime as dt

from sqlalchemy import select, text, update
from support.batches import all_done, claim, count_rows, finish, job_rows, reclaim, states, submit

from wavemill.jobs.claims import claim_next
from wavemill.jobs.database import Database, now
from wavemill.jobs.pulse import beat, is_my_turn
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.refusals import refuse
from wavemill.jobs.schema import batches, chunks, job_attempts, jobs, pulse, refusals, supervisors, workers
from wavemill.jobs.workers import register_worker, supervisor_beat


def _shift(database: Database, **seconds: float) -> None:
    """Write times of the pulse so many seconds from now."""
    with database.transaction() as connection:
        connection.execute(update(pulse).values({name: now(offset_s) for name, offset_s in seconds.items()}))


def test_after_a_gap_nothing_is_taken_back_before_the_owners_had_a_leases_time(database: Database) -> None:
    batch_id = submit(database, 4)
    claim(database, batch_id, 0, 3, lease_s=-1.0)
    beat(database, lease_s=20)
    _shift(database, beat_at=-30.0, steady_since=-500.0)  # the table was away for half a minute
    assert reclaim_expired(database, steady_s=20) == {}, "nobody has beaten since"
    beat(database, lease_s=20)
    assert reclaim_expired(database, steady_s=20) == {}, "the owners could not speak yet"
    _shift(database, steady_since=-21.0)
    assert reclaim_expired(database, steady_s=20) == {batch_id: 4}


def test_a_lease_that_ended_while_the_table_was_away_costs_no_attempt(database: Database) -> None:
    batch_id = submit(database, 4)
    claim(database, batch_id, 0, 3, lease_s=-10.0)
    beat(database, lease_s=4)
    _shift(database, steady_since=-5.0)
    assert reclaim_expired(database, steady_s=4) == {batch_id: 4}
    assert states(database, batch_id) == {"queued": [0, 1, 2, 3]}
    assert [row.attempt for row in job_rows(database, batch_id)] == [0] * 4
    assert count_rows(database, job_attempts) == 0


def test_steady_beats_leave_the_time_since_the_last_gap_alone(database: Database) -> None:
    beat(database, lease_s=20)
    _shift(database, beat_at=-5.0, steady_since=-500.0)
    beat(database, lease_s=20)
    with database.reading() as connection:
        row = connection.execute(select(pulse, now().label("now"))).one()
    assert row.now - row.steady_since > dt.timedelta(seconds=400)
    assert row.now - row.beat_at < dt.timedelta(seconds=5)


def test_a_clock_that_is_put_back_leaves_no_lease_or_delay_far_ahead(database: Database) -> None:
    batch_id = submit(database, 8)
    claim(database, batch_id, 0, 3, lease_s=3_600)
    with database.transaction() as connection:
        connection.execute(update(chunks).values(available_at=now(3_600), published_at=now(3_600)))
    beat(database, lease_s=20)
    _shift(database, beat_at=3_600.0)
    beat(database, lease_s=20)
    with database.reading() as connection:
        late = select(jobs.c.id).where(jobs.c.lease_until > now(21))
        assert connection.execute(late).all() == []
        assert connection.execute(select(chunks.c.id).where(chunks.c.available_at > now())).all() == []
        assert connection.execute(select(chunks.c.id).where(chunks.c.published_at > now())).all() == []


def _put_the_clock_back_an_hour(database: Database) -> None:
    """Let what was written until now be an hour ahead, and beat."""
    beat(database, lease_s=20)
    times = (batches.c.turn_at, batches.c.torn_at, batches.c.mark_at, batches.c.newer_mark_at)
    signs = (workers.c.heartbeat_at, supervisors.c.heartbeat_at, refusals.c.refused_at, pulse.c.beat_at)
    with database.transaction() as connection:
        for time in (*times, *signs):
            connection.execute(update(time.table).values({time.name: now(3_600.0)}))
    beat(database, lease_s=20)


def test_a_batch_from_before_the_clock_was_put_back_has_its_turns(database: Database) -> None:
    old = submit(database, 20)
    _put_the_clock_back_an_hour(database)
    new = submit(database, 20)
    served = [claim_next(database, worker_id="w", lease_s=60)[0].batch.id for _ in range(6)]
    assert served == [old, new] * 3


def test_a_rate_is_counted_anew_when_the_clock_was_put_back(database: Database) -> None:
    batch_id = submit(database, 12)
    for first in (0, 4, 8):
        held = claim(database, batch_id, first, first + 3)
        if first == 8:
            _put_the_clock_back_an_hour(database)
        finish(database, held, all_done(held)[: 4 if first < 8 else 2])
    with database.reading() as connection:
        row = connection.execute(select(batches, now().label("now"))).one()
    assert row.mark_at <= row.now
    assert row.newer_mark_at <= row.now
    assert row.mark_final == 8


def test_after_the_clock_was_put_back_deaths_count_and_the_dead_are_not_alive(database: Database) -> None:
    batch_id = submit(database, 8)
    register_worker(database, "w", host="h", pid=1, device="cpu")
    supervisor_beat(database, "s", host="h", pid=1, trouble="fire")
    refuse(database, "w", "d" * 64, "lacks it")
    claim(database, batch_id, 0, 3, lease_s=-1.0)
    reclaim_expired(database)
    _put_the_clock_back_an_hour(database)
    claim(database, batch_id, 4, 7, lease_s=0.001)
    assert reclaim(database) == 4
    with database.reading() as connection:
        assert connection.scalar(select(batches.c.deaths)) == 2
        for time in (workers.c.heartbeat_at, supervisors.c.heartbeat_at, refusals.c.refused_at, batches.c.torn_at):
            assert connection.execute(select(time).where(time > now())).all() == []


def test_of_many_who_ask_for_a_turn_one_gets_it_and_after_its_time_another(database: Database) -> None:
    beat(database, lease_s=20)
    assert [is_my_turn(database, period_s=60) for _ in range(3)] == [True, False, False]
    _shift(database, swept_at=-61.0)
    assert is_my_turn(database, period_s=60)


def test_a_turn_that_a_clock_has_put_far_ahead_is_nobodys(database: Database) -> None:
    beat(database, lease_s=20)
    _shift(database, swept_at=3_600.0)
    assert is_my_turn(database, period_s=60)


def test_there_is_one_pulse(database: Database) -> None:
    for _ in range(3):
        beat(database, lease_s=20)
    with database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pulse")) == 1
