from __future__ import annotations

import pytest
from sqlalchemy import update
from support.batches import all_done, audit, claim, finish, job_rows, reclaim, seqs, states, submit

from wavemill.jobs.claims import claim_next
from wavemill.jobs.control import fail_stopped, retry_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.pulse import beat
from wavemill.jobs.queries import batch_status
from wavemill.jobs.recovery import reclaim_dead, reclaim_expired
from wavemill.jobs.schema import pulse
from wavemill.jobs.states import State


def _next(database: Database, *, worker: str = "w", lease_s: float = 60.0) -> list[tuple[str, list[int]]]:
    claims = claim_next(database, worker_id=worker, lease_s=lease_s)
    return [(claim.batch.id, seqs(claim)) for claim in claims]


def test_batches_of_equal_priority_are_served_in_turn_however_much_one_has_queued(database: Database) -> None:
    large, small = submit(database, 40), submit(database, 8)
    served = [_next(database)[0][0] for _ in range(5)]
    assert served == [large, small, large, small, large]


def test_a_batch_of_higher_priority_goes_first_whatever_message_came(database: Database) -> None:
    low, high = submit(database, 8, priority=1), submit(database, 8, priority=2)
    assert [_next(database)[0][0] for _ in range(4)] == [high, high, low, low]
    assert _next(database) == []


def test_small_batches_are_claimed_together_up_to_one_chunks_size(database: Database) -> None:
    ids = [submit(database, 1) for _ in range(6)]
    assert _next(database) == [(batch_id, [0]) for batch_id in ids[:4]]
    assert _next(database) == [(batch_id, [0]) for batch_id in ids[4:]]
    for batch_id in ids:
        audit(database, batch_id)


def test_jobs_of_a_batch_whose_chunks_are_of_one_job_are_claimed_alone(database: Database) -> None:
    ids = [submit(database, 1, chunk_size=1) for _ in range(2)]
    assert [_next(database) for _ in ids] == [[(batch_id, [0])] for batch_id in ids]


def test_what_was_in_a_dead_workers_hands_is_claimed_alone_and_pays_no_attempt_for_its_company(
    database: Database,
) -> None:
    ids = [submit(database, 1, max_attempts=1) for _ in range(3)]
    assert len(_next(database, lease_s=-1.0)) == 3
    assert reclaim_expired(database) == dict.fromkeys(ids, 1)
    assert sorted(_next(database) for _ in ids) == sorted([(batch_id, [0])] for batch_id in ids)
    assert [job_rows(database, batch_id)[0].max_attempts for batch_id in ids] == [3, 3, 3]


def test_a_worker_gets_no_batch_whose_model_it_lacks_or_that_it_avoids(database: Database) -> None:
    batch_id = submit(database, 4)
    assert claim_next(database, worker_id="w", lease_s=60, refused={"0" * 64}) == ()
    assert claim_next(database, worker_id="w", lease_s=60, avoided=[batch_id]) == ()
    assert _next(database) == [(batch_id, [0, 1, 2, 3])]


def test_a_fence_grows_with_each_claim_also_where_the_attempt_is_given_back(database: Database) -> None:
    from wavemill.jobs.finishing import Outcome

    batch_id = submit(database, 1)
    for fence in (1, 2, 3):
        held = claim(database, batch_id, 0, 0)
        assert (held.jobs[0].fence, held.jobs[0].attempt) == (fence, 1)
        finish(database, held, [Outcome(job=held.jobs[0], state=State.QUEUED)])


def test_a_batch_that_kills_one_worker_after_another_is_stopped_with_a_sentence(database: Database) -> None:
    batch_id, healthy = submit(database, 12), submit(database, 4)
    for k in range(3):
        claim(database, batch_id, 4 * k, 4 * k + 3, worker=f"w{k}", lease_s=-1.0)
        reclaim_expired(database, max_deaths=3)
    assert fail_stopped(database) == 12
    assert states(database, batch_id) == {"failed": list(range(12))}
    assert states(database, healthy) == {"queued": [0, 1, 2, 3]}
    row = job_rows(database, batch_id)[0]
    assert row.error_code == "worker-lost"
    assert "3 worker processes died on this batch" in row.error
    assert batch_status(database, batch_id)["state"] == "failed"
    audit(database, batch_id)
    assert retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=3) == 12
    claim(database, batch_id, 0, 3, worker="w9", lease_s=-1.0)
    reclaim_expired(database, max_deaths=3)
    assert fail_stopped(database) == 0, "deaths are counted anew after a retry"
    audit(database, batch_id)


def test_deaths_are_counted_from_the_last_job_that_was_done(database: Database) -> None:
    batch_id = submit(database, 12)
    for k in range(3):
        claim(database, batch_id, 4 * k, 4 * k + 3, worker=f"w{k}", lease_s=0.001)
        reclaim(database)
        held = claim(database, batch_id, 4 * k, 4 * k)
        finish(database, held, all_done(held))
    reclaim_expired(database, max_deaths=2)
    assert fail_stopped(database) == 0
    audit(database, batch_id)


def _batch_of_dead_workers(database: Database, n_workers: int) -> str:
    batch_id = submit(database, 4 * n_workers + 4)
    for k in range(n_workers):
        claim(database, batch_id, 4 * k, 4 * k + 3, worker=f"w-{k}", lease_s=-10.0)
    return batch_id


@pytest.mark.parametrize("seen_by", ["a sweep", "their parents"])
def test_workers_that_die_together_stop_no_batch(database: Database, seen_by: str) -> None:
    batch_id = _batch_of_dead_workers(database, 24)
    if seen_by == "a sweep":
        assert reclaim_expired(database) == {batch_id: 96}
    for k in range(24):
        reclaim_dead(database, f"w-{k}")
    assert states(database, batch_id) == {"queued": list(range(100))}
    assert batch_status(database, batch_id)["state"] == "queued"
    assert fail_stopped(database) == 0
    audit(database, batch_id)


def test_workers_lost_with_the_table_stop_no_batch(database: Database) -> None:
    beat(database, lease_s=4)
    with database.transaction() as connection:
        connection.execute(update(pulse).values(steady_since=now(-5.0)))
    for _ in range(3):
        batch_id = _batch_of_dead_workers(database, 1)
        reclaim_expired(database, steady_s=4, max_deaths=1)
    assert fail_stopped(database) == 0
    audit(database, batch_id)


def test_of_workers_that_die_one_after_another_each_counts_however_many_die_beside_it(database: Database) -> None:
    batch_id = submit(database, 40)
    for k in range(3):
        claim(database, batch_id, 0, 3, worker=f"w{k}-1", lease_s=-1.0)
        claim(database, batch_id, 4, 7, worker=f"w{k}-2", lease_s=-1.0)
        reclaim_dead(database, f"w{k}-1", max_deaths=3)
        reclaim_expired(database, max_deaths=3)
        assert bool(fail_stopped(database)) == (k == 2)
    audit(database, batch_id)
