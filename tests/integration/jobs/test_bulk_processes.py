"""Bulk actions beside other processes: workers that take the same jobs, and a death in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update
from support.batches import audit, claim, failed, finish, job_rows, states, submit

from wavemill.jobs.bulk import Action, bulk_status, run, start, take_next
from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database
from wavemill.jobs.queries import batch_status
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State

CLAIMER = Path(__file__).parents[2] / "support" / "claimer.py"
# Runs an action, and waits for a line after each page.
RUNNER = """
import sys
from wavemill.jobs.bulk import Surroundings, run
from wavemill.jobs.database import Database

def told(status):
    print(status["changed"], flush=True)
    sys.stdin.readline()

run(Database(sys.argv[1]), int(sys.argv[2]), Surroundings(told=told))
"""


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def _started(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def many(database: Database) -> str:
    """A batch of 6,000 of which 4,000 have failed, and 1,000 with another error."""
    batch_id = submit(database, 6_000, chunk_size=64)
    with database.transaction() as connection:
        for low, high, code in ((0, 3_999, "storage-error"), (4_000, 4_999, "bad-spectrogram")):
            of_them = (jobs.c.batch_id == batch_id, jobs.c.seq.between(low, high))
            values = {"state": State.FAILED, "error_code": code, "finished_at": jobs.c.created_at}
            connection.execute(update(jobs).where(*of_them).values(values))
        move_counts(connection, {batch_id: {State.QUEUED: -5_000, State.FAILED: 5_000}})
    return batch_id


def test_a_dead_process_action_goes_on_where_it_was(database: Database, many: str) -> None:
    where = ["error_code=storage-error"]
    action_id = start(database, Action.RETRY, batch_id=many, where=where, params={"extra_attempts": 1}, is_mine=True)
    process = _started("-c", RUNNER, _url(database), str(action_id))
    assert process.stdin is not None
    for _ in range(2):
        assert int(_line(process)) > 0
        process.stdin.write("go on\n")
        process.stdin.flush()
    process.kill()
    process.communicate()
    before = bulk_status(database, action_id)["changed"]
    assert 0 < before < 4_000
    assert take_next(database, silent_s=0) == action_id
    status = run(database, action_id)
    assert (status["state"], status["changed"]) == ("done", 4_000)
    counts = batch_status(database, many)["counts"]
    assert (counts["queued"], counts["failed"]) == (5_000, 1_000)
    audit(database, many)
    assert {row.error_code for row in job_rows(database, many) if row.state == "failed"} == {"bad-spectrogram"}


def test_a_cancel_beside_working_processes_loses_and_doubles_no_job(database: Database) -> None:
    n_jobs, chunk_size = 600, 5
    batch_id = submit(database, n_jobs, chunk_size=chunk_size)
    n_claimed = n_jobs // 2  # the workers claim the first half, and may be faster than the action
    workers = [
        _started(str(CLAIMER), _url(database), batch_id, f"w{k}", str(n_claimed), str(chunk_size)) for k in range(2)
    ]
    for worker in workers:
        assert _line(worker) == "ready\n"
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    action_id = start(database, Action.CANCEL, batch_id=batch_id, where=["id=*5"], params={}, is_mine=True)
    status = run(database, action_id)
    taken = [seq for worker in workers for seq in json.loads(worker.communicate(timeout=60)[0])]
    found = states(database, batch_id)
    assert len(found["cancelled"]) == status["changed"] >= n_claimed // 10
    assert all(seq % 10 == 5 for seq in found["cancelled"])
    assert sorted(taken) == found["done"]
    assert sorted(found["done"] + found["cancelled"] + found["queued"]) == list(range(n_jobs))
    assert min(found["queued"]) >= n_claimed
    audit(database, batch_id)


def test_deleting_beside_a_retry_loses_no_job(database: Database) -> None:
    batch_id = submit(database, 40, chunk_size=40)
    claimed = claim(database, batch_id, 0, 39)
    finish(database, claimed, [failed(job) for job in claimed.jobs])
    deletion = start(database, Action.DELETE, batch_id=batch_id, where=["id=set/1*"], params={}, is_mine=True)
    retry = start(database, Action.RETRY, batch_id=batch_id, where=[], params={"extra_attempts": 1}, is_mine=True)
    process = _started("-c", RUNNER, _url(database), str(retry))
    status = run(database, deletion)
    process.communicate("go on\n" * 5, timeout=60)
    left = job_rows(database, batch_id)
    assert len(left) == 40 - status["changed"]
    assert {row.state for row in left} == {"queued"}
    audit(database, batch_id)
