"""Old batches go with their files; a kill in between leaves nothing wrong, and the next run takes it up."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.batches import claim, count_rows, failed, finish, new_jobs, request, submit

from wavemill.errors import NotFoundError, OutputError, StorageUnavailableError, UsageError
from wavemill.jobs.control import cancel_batch, retry_batch
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.prune import batches_to_prune, prune_batch
from wavemill.jobs.queries import batch_status, get_job, list_batches, list_jobs
from wavemill.jobs.schema import batches, job_attempts, jobs
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch

# Prunes, and dies when the N-th statement of a kind is about to be run.
_KILLED = """
import os, signal, sys
from sqlalchemy import event
from wavemill.jobs.database import Database
from wavemill.jobs.prune import prune_batch

url, batch_id, statement = sys.argv[1:]
database = Database(url)

def die(_c, _cursor, text, *_):
    if text.startswith(statement):
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(database.engine, "before_cursor_execute", die)
prune_batch(database, batch_id, older_than_s=0)
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where outputs go, apart from the table."""
    return tmp_path / "out"


def _finished(database: Database, out: Path, n: int = 6) -> str:
    """Write a finished batch whose last job failed, with the files of the others."""
    batch_id, _ = write_batch(database, replace(request(), output=str(out)), new_jobs(f"set/{i}" for i in range(n)))
    for first in range(0, n, 4):
        claimed = claim(database, batch_id, first, first + 3)
        outcomes = [failed(job) if job.seq == n - 1 else _written(job, out / batch_id) for job in claimed.jobs]
        finish(database, claimed, outcomes)
    return batch_id


def _written(job, folder: Path) -> Outcome:
    paths = {f"{kind}_path": folder / kind / f"{job.spectrogram_id}.wav" for kind in ("generated", "original")}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    return Outcome(job=job, state=State.DONE, columns={name: str(path) for name, path in paths.items()})


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_batch_goes_with_its_rows_attempts_files_and_empty_folders(database: Database, out: Path) -> None:
    kept = _finished(database, out)
    gone = _finished(database, out)
    assert prune_batch(database, gone, older_than_s=0) == 6
    assert not (out / gone).exists()
    assert len(_files(out / kept)) == 10
    assert [status["id"] for status in list_batches(database)] == [kept]
    assert [count_rows(database, table) for table in (batches, jobs, job_attempts)] == [1, 6, 6]


def test_what_others_put_beside_the_outputs_stays(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    notes = out / batch_id / "generated" / "notes.txt"
    notes.write_text("mine")
    prune_batch(database, batch_id, older_than_s=0)
    assert _files(out) == [notes]


def test_nothing_is_removed_behind_a_link(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    folder = out / batch_id / "generated"
    elsewhere = folder.rename(out.parent / "elsewhere")
    folder.symlink_to(elsewhere)
    assert prune_batch(database, batch_id, older_than_s=0) == 6
    assert len(_files(elsewhere)) == 5
    assert not (out / batch_id / "original").exists()


def test_only_finished_batches_that_are_old_enough_go(database: Database, out: Path) -> None:
    running, queued, cancelled = submit(database, 8), submit(database, 4), submit(database, 4)
    claim(database, running, 0, 3)
    cancel_batch(database, cancelled)
    done = _finished(database, out)
    assert {row.id for row in batches_to_prune(database, older_than_s=0)} == {cancelled, done}
    assert batches_to_prune(database, older_than_s=3_600) == []
    for batch_id, age_s in ((running, 0), (queued, 0), (done, 3_600)):
        assert prune_batch(database, batch_id, older_than_s=age_s) == 0
    assert count_rows(database, batches) == 4


def test_a_batch_that_was_retried_meanwhile_stays(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    (listed,) = batches_to_prune(database, older_than_s=0)
    retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=1)
    assert prune_batch(database, listed.id, older_than_s=0) == 0
    assert len(_files(out)) == 10


@pytest.mark.parametrize("statement", ["DELETE FROM jobs", "DELETE FROM batches"])
def test_a_kill_in_between_leaves_no_row_that_promises_a_file_and_the_next_run_ends_it(
    database: Database, out: Path, statement: str
) -> None:
    batch_id = _finished(database, out)
    url = database.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", _KILLED, url, batch_id, statement])
    assert done.returncode == -signal.SIGKILL
    assert count_rows(database, batches) == 1, "the test came too late"
    assert _files(out) == []
    _nobody_sees(database, batch_id)
    (interrupted,) = batches_to_prune(database, older_than_s=3_600)
    assert interrupted.id == batch_id
    prune_batch(database, batch_id, older_than_s=3_600)
    assert [count_rows(database, table) for table in (batches, jobs)] == [0, 0]


def _nobody_sees(database: Database, batch_id: str) -> None:
    assert list_batches(database) == []
    assert list(list_jobs(database)) == list(list_jobs(database, batch_id=batch_id)) == []
    for ask in (batch_status, cancel_batch):
        with pytest.raises(NotFoundError):
            ask(database, batch_id)
    with pytest.raises(NotFoundError):
        retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=1)
    with pytest.raises(NotFoundError):
        get_job(database, 1)


def test_a_file_that_cannot_be_removed_keeps_its_row(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    path = out / batch_id / "generated" / "set" / "2.wav"
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=r"cannot remove .*2\.wav"):
        prune_batch(database, batch_id, older_than_s=0)
    assert count_rows(database, jobs) == 6
    path.rmdir()
    assert prune_batch(database, batch_id, older_than_s=0) == 6


def test_rows_stay_while_the_disk_of_their_outputs_is_away(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    away = (out / batch_id).rename(out.parent / "away")
    with pytest.raises(StorageUnavailableError, match="mount its disk, or pass --deleted"):
        prune_batch(database, batch_id, older_than_s=0)
    assert count_rows(database, jobs) == 6
    away.rename(out / batch_id)
    assert prune_batch(database, batch_id, older_than_s=0) == 6
    assert _files(out) == []


def test_a_batch_whose_outputs_were_deleted_by_hand_can_go(database: Database, out: Path) -> None:
    batch_id = _finished(database, out)
    shutil.rmtree(out / batch_id)
    assert prune_batch(database, batch_id, older_than_s=0, is_deleted=True) == 6


def test_batches_that_are_named_go_if_they_are_finished(database: Database, out: Path) -> None:
    running, done, other = submit(database, 4), _finished(database, out), _finished(database, out)
    claim(database, running, 0, 3)
    assert [row.id for row in batches_to_prune(database, older_than_s=0, batch_ids=[done])] == [done]
    with pytest.raises(UsageError, match=f"{running} is not finished"):
        batches_to_prune(database, older_than_s=0, batch_ids=[other, running])
    with pytest.raises(NotFoundError, match="there is no batch x"):
        batches_to_prune(database, older_than_s=0, batch_ids=["x"])


def test_a_key_is_free_again_when_its_batch_is_gone(database: Database) -> None:
    keyed = replace(request(), key="k")
    first, _ = write_batch(database, keyed, new_jobs(["a"]))
    cancel_batch(database, first)
    prune_batch(database, first, older_than_s=0)
    second, _ = write_batch(database, keyed, new_jobs(["b"]))
    assert second != first
