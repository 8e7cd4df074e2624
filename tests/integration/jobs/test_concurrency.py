from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from support.batches import (
    Outgoing,
    all_done,
    audit,
    claim,
    failed,
    finish,
    job_rows,
    retried,
    seqs,
    states,
    submit,
)

from wavemill.jobs.claims import claim_chunk, renew_leases
from wavemill.jobs.control import cancel_batch, retry_batch
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.schema import job_attempts
from wavemill.jobs.states import State

CLAIMER = Path(__file__).parents[2] / "support" / "claimer.py"
_PAUSE = "CREATE FUNCTION pause() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END' LANGUAGE plpgsql"
_PAUSE_SLOW_UPDATES = (
    "CREATE TRIGGER pause BEFORE UPDATE ON jobs FOR EACH STATEMENT "
    "WHEN (current_setting('application_name') = 'slow') EXECUTE FUNCTION pause()"
)


def _at_once(actions: list[Callable[[], Any]]) -> list[Any]:
    """Run actions in threads that start together; return their results, or raise."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result() for future in [pool.submit(run, action) for action in actions]]


def test_threads_that_claim_overlapping_ranges_never_share_a_job(database: Database) -> None:
    batch_id = submit(database, 60, chunk_size=10)
    ranges = [(0, 59), (0, 9), (5, 34), (30, 59), (55, 59), (0, 59)]
    claims = _at_once(
        [
            lambda first=first, last=last, k=k: claim_chunk(  # type: ignore[misc]
                database, batch_id, first, last, worker_id=f"w{k}", lease_s=60
            )
            for k, (first, last) in enumerate(ranges)
        ]
    )
    taken = [seq for claimed in claims for seq in seqs(claimed)]
    assert sorted(taken) == list(range(60))
    assert {row.attempt for row in job_rows(database, batch_id)} == {1}
    audit(database, batch_id)


def test_processes_that_get_every_message_twice_do_each_job_once(database: Database) -> None:
    n_jobs, chunk_size = 120, 5
    batch_id = submit(database, n_jobs, chunk_size=chunk_size)
    url = database.url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, str(CLAIMER), url, batch_id, f"w{k}", str(n_jobs), str(chunk_size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n", timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    taken = [seq for output in outputs for seq in json.loads(output)]
    assert sorted(taken) == list(range(n_jobs))
    with database.reading() as connection:
        assert len(connection.execute(select(job_attempts.c.job_id)).all()) == n_jobs
    audit(database, batch_id)


def test_two_publishers_send_each_chunk_once(database: Database) -> None:
    batch_id = submit(database, 400, chunk_size=2)
    outgoing = [Outgoing() for _ in range(4)]
    counts = _at_once([lambda out=out: publish_due(database, out, page=7) for out in outgoing])  # type: ignore[misc]
    sent = [pair for out in outgoing for pair in out.ranges]
    assert sorted(sent) == [(i, i + 1) for i in range(0, 400, 2)]
    assert sum(counts) == 200
    audit(database, batch_id)


def test_a_claim_that_waits_for_a_finish_loses_no_chunk(database: Database) -> None:
    """A late message is looked at just while a worker returns a job: the job keeps its chunk, or is claimed."""
    for _ in range(5):
        batch_id = submit(database, 4)
        held = claim(database, batch_id, 0, 3)
        in_place = threading.Event()

        def place(in_place: threading.Event = in_place) -> None:
            in_place.set()
            time.sleep(0.02)  # so that the late message's transaction begins inside this one

        outcomes = [*all_done(held, place=place)[:3], retried(held.jobs[3])]

        def late(in_place: threading.Event = in_place, batch_id: str = batch_id) -> None:
            in_place.wait(5)
            for _ in range(20):
                claim_chunk(database, batch_id, 0, 3, worker_id="late", lease_s=60)

        _at_once([lambda held=held, outcomes=outcomes: finish(database, held, outcomes), late])  # type: ignore[misc]
        audit(database, batch_id)


def test_a_chunk_written_between_a_claims_statements_stays(database: Database) -> None:
    """PostgreSQL gives each statement its own view: what is deleted must not be newer than what was claimed."""
    if not database.is_postgresql:
        pytest.skip("SQLite runs one writing transaction at a time")
    batch_id = submit(database, 4)
    held = claim(database, batch_id, 0, 3)
    with database.transaction() as connection:  # stands still between the claim's statements on this table
        connection.execute(text(_PAUSE))
        connection.execute(text(_PAUSE_SLOW_UPDATES))
    slow = Database(database.url.update_query_dict({"application_name": "slow"}).render_as_string(hide_password=False))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(claim_chunk, slow, batch_id, 0, 3, worker_id="late", lease_s=60)
        time.sleep(0.2)
        finish(database, held, [*all_done(held)[:3], retried(held.jobs[3])])
        late.result()
    slow.close()
    audit(database, batch_id)


def test_cancel_and_retry_amid_claims_and_finishes_leave_a_sound_table(database: Database) -> None:
    batch_id = submit(database, 64, chunk_size=4)

    def work(name: str) -> None:
        for k in range(32):
            first = (k * 12 + len(name)) % 64 // 4 * 4
            claimed = claim_chunk(database, batch_id, first, first + 3, worker_id=name, lease_s=60)
            if claimed is None:
                continue
            renew_leases(database, [claimed], lease_s=60)
            outcomes = all_done(claimed)
            if k % 2:
                outcomes = [retried(j) if j.attempt < j.max_attempts else failed(j) for j in claimed.jobs]
            finish(database, claimed, outcomes)

    def control() -> None:
        for _ in range(8):
            cancel_batch(database, batch_id)
            retry_batch(database, batch_id, states=[State.FAILED, State.CANCELLED], extra_attempts=3)
            reclaim_expired(database)

    _at_once([lambda: work("a"), lambda: work("bb"), lambda: work("ccc"), control])
    audit(database, batch_id)


def test_the_heartbeat_and_the_finish_of_one_worker_do_not_deadlock(database: Database) -> None:
    batch_id = submit(database, 256, chunk_size=256)
    claimed = claim(database, batch_id, 0, 255)
    for start in range(0, 256, 2):  # rows that were written again lie elsewhere: no scan meets them in the order of seq
        with database.transaction() as connection:
            connection.execute(
                text("UPDATE jobs SET error = 'moved' WHERE id = :id"), {"id": claimed.jobs[254 - start].id}
            )
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            renew_leases(database, [claimed], lease_s=60)

    def finish_and_claim() -> None:
        try:
            finish(database, claimed, [retried(job) for job in claimed.jobs])
            assert {job.attempt for job in claim(database, batch_id, 0, 255).jobs} == {2}
        finally:
            stop.set()

    _at_once([renew, renew, finish_and_claim])
    assert states(database, batch_id) == {"running": list(range(256))}
    audit(database, batch_id)
