from __future__ import annotations

import threading

from sqlalchemy import update
from support.batches import (
    all_done,
    audit,
    chunk_ranges,
    claim,
    finish,
    job_rows,
    reclaim,
    retried,
    seqs,
    states,
    submit,
)

from wavemill.jobs.claims import claim_chunk
from wavemill.jobs.control import cancel_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.pulse import beat
from wavemill.jobs.queries import batch_status, get_job
from wavemill.jobs.recovery import reclaim_dead, reclaim_expired
from wavemill.jobs.schema import pulse


def test_jobs_of_a_dead_worker_go_back_whole_the_first_time(database: Database) -> None:
    batch_id = submit(database, 8)
    claim(database, batch_id, 0, 3, lease_s=0.001)
    alive = claim(database, batch_id, 4, 7, worker="w2")
    assert reclaim(database) == 4
    assert states(database, batch_id) == {"queued": [0, 1, 2, 3], "running": [4, 5, 6, 7]}
    assert chunk_ranges(database, batch_id) == [(0, 3)]
    job = get_job(database, job_rows(database, batch_id)[0].id)
    assert (job["attempt"], job["error_code"]) == (1, "worker-lost")
    assert [(a["attempt"], a["worker_id"], a["outcome"]) for a in job["attempts"]] == [(1, "w1", "retry")]
    finish(database, alive, all_done(alive))
    audit(database, batch_id)


def test_a_lease_that_has_not_ended_is_left_alone(database: Database) -> None:
    batch_id = submit(database, 4)
    claim(database, batch_id, 0, 3)
    assert not reclaim_expired(database)


def test_running_jobs_of_a_cancelled_batch_become_cancelled_when_their_lease_ends(database: Database) -> None:
    batch_id = submit(database, 8)
    claim(database, batch_id, 0, 3, lease_s=0.001)
    assert cancel_batch(database, batch_id) == 4
    assert batch_status(database, batch_id)["state"] == "running"
    assert reclaim(database) == 4
    assert batch_status(database, batch_id)["counts"]["cancelled"] == 8
    assert batch_status(database, batch_id)["state"] == "cancelled"
    assert chunk_ranges(database, batch_id) == []
    audit(database, batch_id)


def test_what_a_process_held_is_taken_back_at_once_when_its_parent_saw_it_die(database: Database) -> None:
    batch_id = submit(database, 12)
    claim(database, batch_id, 0, 3, worker="host/cpu/41-abcd")
    claim(database, batch_id, 4, 7, worker="host/cpu/42-abcd")
    claim(database, batch_id, 8, 11, worker="host/cpu/41-ef01")
    assert reclaim_dead(database, "/41-abcd") == {batch_id: 4}
    assert states(database, batch_id) == {"queued": [0, 1, 2, 3], "running": list(range(4, 12))}
    assert reclaim_dead(database, "/41-abcd") == {}
    assert reclaim_dead(database, "-abcd") == {batch_id: 4}
    assert reclaim_dead(database, "%") == {}
    audit(database, batch_id)


def _work_until_final(database: Database, batch_id: str, *, poison: set[int]) -> int:
    """Claim every chunk there is; a process that meets a poison job dies. Return how many processes died."""
    deaths = 0
    while ranges := chunk_ranges(database, batch_id):
        for first, last in ranges:
            dies = any(first <= seq <= last for seq in poison)
            lease_s = 0.001 if dies else 60
            claimed = claim_chunk(database, batch_id, first, last, worker_id=f"w{deaths}", lease_s=lease_s)
            if claimed is None:
                continue
            if poison & {job.seq for job in claimed.jobs}:
                deaths += 1
                reclaim(database)
            else:
                finish(database, claimed, all_done(claimed))
            audit(database, batch_id)
    return deaths


def test_a_poison_job_is_cornered_by_halving_and_fails_alone(database: Database) -> None:
    batch_id = submit(database, 64, chunk_size=64)
    deaths = _work_until_final(database, batch_id, poison={37})
    assert states(database, batch_id) == {"done": [i for i in range(64) if i != 37], "failed": [37]}
    row = job_rows(database, batch_id)[37]
    assert row.error_code == "worker-lost"
    assert "wavemill retry" in row.error
    # Twice whole, then 32, 16, 8, 4, 2, and twice alone.
    assert deaths == 9
    assert get_job(database, row.id)["attempts"][-1]["outcome"] == "failed"


def test_two_poison_jobs_in_one_chunk_both_fail_and_the_others_get_done(database: Database) -> None:
    batch_id = submit(database, 16, chunk_size=16, max_attempts=1)
    _work_until_final(database, batch_id, poison={3, 12})
    assert states(database, batch_id) == {"done": [i for i in range(16) if i not in {3, 12}], "failed": [3, 12]}


def test_a_job_that_stands_alone_has_all_its_attempts(database: Database) -> None:
    batch_id = submit(database, 1, max_attempts=3)
    assert _work_until_final(database, batch_id, poison={0}) == 3
    assert job_rows(database, batch_id)[0].attempt == 3


def test_a_neighbour_of_a_poison_job_survives_one_chance_death_when_it_stands_alone(database: Database) -> None:
    batch_id = submit(database, 2, chunk_size=2, max_attempts=2)
    for _ in range(2):
        claim(database, batch_id, 0, 1, lease_s=0.001)
        reclaim(database)
    assert chunk_ranges(database, batch_id) == [(0, 0), (1, 1)]
    claim(database, batch_id, 0, 0, lease_s=0.001)
    reclaim(database)
    assert states(database, batch_id) == {"queued": [0, 1]}
    claim(database, batch_id, 0, 0, lease_s=0.001)
    reclaim(database)
    assert states(database, batch_id) == {"failed": [0], "queued": [1]}
    audit(database, batch_id)


def test_neighbours_of_a_poison_job_keep_attempts_for_errors_of_their_own(database: Database) -> None:
    batch_id = submit(database, 2, chunk_size=2, max_attempts=1)
    claim(database, batch_id, 0, 1, lease_s=0.001)
    reclaim(database)
    again = claim(database, batch_id, 0, 1)
    assert [(job.attempt, job.max_attempts) for job in again.jobs] == [(2, 3), (2, 3)]
    finish(database, again, all_done(again)[:1])
    audit(database, batch_id)


def test_jobs_of_thousands_of_dead_workers_are_not_torn_where_a_page_ends(database: Database) -> None:
    """Each worker's jobs are looked at together: one that seems to stand alone would be failed at once."""
    batch_id = submit(database, 5_002, chunk_size=4_999, max_attempts=1)
    claim(database, batch_id, 0, 4_998, worker="w1", lease_s=-1.0)
    claim(database, batch_id, 4_999, 5_001, worker="w2", lease_s=-1.0)
    taken = 0
    while taken < 5_002:
        taken += reclaim(database)
    assert {state: len(found) for state, found in states(database, batch_id).items()} == {"queued": 5_002}
    assert chunk_ranges(database, batch_id) == [(0, 4_998), (4_999, 5_001)]
    audit(database, batch_id)


def test_reapers_that_sweep_at_the_same_time_do_not_tear_a_dead_workers_chunk(database: Database) -> None:
    batch_id = submit(database, 64, chunk_size=64, max_attempts=1)
    claim(database, batch_id, 0, 63, lease_s=0.001)
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(sum(reclaim_expired(database).values()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while sum(taken) < 64:
        taken.append(reclaim(database))
    assert [count for count in taken if count] == [64]
    assert states(database, batch_id) == {"queued": list(range(64))}
    assert chunk_ranges(database, batch_id) == [(0, 63)]
    audit(database, batch_id)


def test_chunks_of_many_dead_workers_are_all_taken_back_in_one_sweep(database: Database) -> None:
    batches = [submit(database, 8), submit(database, 8)]
    for batch_id in batches:
        for first in (0, 4):
            claim(database, batch_id, first, first + 3, worker=f"{batch_id}-{first}", lease_s=-1.0)
    assert sum(reclaim_expired(database).values()) == 16
    for batch_id in batches:
        assert chunk_ranges(database, batch_id) == [(0, 3), (4, 7)]
        audit(database, batch_id)


def test_a_job_that_waits_alone_after_a_transient_error_is_not_taken_for_a_chunk(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, [*all_done(claimed)[:3], retried(claimed.jobs[3])])
    claim(database, batch_id, 3, 3, worker="w2", lease_s=0.001)
    assert reclaim(database) == 1
    assert chunk_ranges(database, batch_id) == [(3, 3)]
    assert job_rows(database, batch_id)[3].state == "queued"
    audit(database, batch_id)


def _lose_with_the_table(database: Database, batch_id: str, *, poison: int, at_most: int) -> int:
    """Work as the only host does, which a poison job takes down with the table on it; return how often it went down."""
    beat(database, lease_s=4)
    with database.transaction() as connection:
        connection.execute(update(pulse).values(steady_since=now(-5.0)))  # the host is up again
    for n_down in range(at_most):
        while ranges := chunk_ranges(database, batch_id):
            first, last = next((one for one in ranges if one[0] <= poison <= one[1]), ranges[0])
            held = claim(database, batch_id, first, last, worker=f"w{n_down}", lease_s=-10.0)
            if poison in seqs(held):
                break
            finish(database, held, all_done(held))
        else:
            return n_down
        assert sum(reclaim_expired(database, steady_s=4).values()) == len(held.jobs)
        audit(database, batch_id)
    return at_most


def test_a_job_that_takes_the_only_host_down_with_it_is_cornered_and_fails_alone(database: Database) -> None:
    batch_id = submit(database, 16, chunk_size=16)
    assert _lose_with_the_table(database, batch_id, poison=5, at_most=20) == 10  # whole, 16, 8, 4, 2, and 5 times alone
    assert states(database, batch_id) == {"done": [i for i in range(16) if i != 5], "failed": [5]}
    row = job_rows(database, batch_id)[5]
    assert (row.error_code, row.attempt) == ("worker-lost", 1)
    assert "wavemill retry" in row.error
    outcomes = [attempt["outcome"] for attempt in get_job(database, row.id)["attempts"]]
    assert outcomes == ["retry"] * 4 + ["failed"]


def test_a_job_that_stands_alone_loses_no_attempt_with_the_table(database: Database) -> None:
    batch_id = submit(database, 1, chunk_size=1, max_attempts=1)
    assert _lose_with_the_table(database, batch_id, poison=0, at_most=4) == 4
    assert [(row.state, row.attempt) for row in job_rows(database, batch_id)] == [("queued", 0)]
    held = claim(database, batch_id, 0, 0)
    finish(database, held, all_done(held))
    audit(database, batch_id)
