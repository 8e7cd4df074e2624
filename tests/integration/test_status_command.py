from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.batches import all_done, claim, finish, new_jobs, request

from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.settings import Settings
from wavemill_producer.cli import status
from wavemill_producer.producer import Producer

_COMMAND = [sys.executable, "-m", "wavemill_producer.cli.main"]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'table.db'}")
    upgrade(database)
    yield database
    database.close()


def _cli(table: Database, *arguments: object, code: int = 0) -> str:
    environment = {**os.environ, "WAVEMILL_DATABASE_URL": str(table.url), "COLUMNS": "80", "FORCE_COLOR": "1"}
    done = subprocess.run([*_COMMAND, *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_status_says_that_it_leaves_older_batches_out_and_cuts_no_id(table: Database) -> None:
    batch_ids = [write_batch(table, request(), new_jobs(["a"]))[0] for _ in range(22)]
    shown = _cli(table, "status")
    assert sum(batch_id in shown for batch_id in batch_ids) == 20
    assert "older batches are not shown; --limit shows more than 20" in shown
    everything = _cli(table, "status", "--limit", 22)
    assert all(batch_id in everything for batch_id in batch_ids)
    assert "not shown" not in everything


def test_a_job_is_found_by_the_id_of_its_spectrogram(table: Database) -> None:
    first, second = (write_batch(table, request(), new_jobs(["7_ann_0", "42"]))[0] for _ in range(2))
    claimed = claim(table, first, 0, 0)
    finish(table, claimed, all_done(claimed))
    assert json.loads(_cli(table, "job", "7_ann_0", "--json"))["batch_id"] == second
    assert json.loads(_cli(table, "job", "7_ann_0", "--batch", first, "--json"))["state"] == "done"
    assert json.loads(_cli(table, "job", "42", "--batch", first, "--json"))["spectrogram_id"] == "42"
    assert "there is no job of '8_ann_0'" in _cli(table, "job", "8_ann_0", code=1)


def test_a_batch_is_found_by_its_name(table: Database) -> None:
    first = write_batch(table, request(name="digits"), new_jobs(["7_ann_0"]))[0]
    assert json.loads(_cli(table, "status", "digits", "--json"))["id"] == first
    assert first in _cli(table, "jobs", "--batch", "digits", "--json")
    assert json.loads(_cli(table, "job", "7_ann_0", "--batch", "digits", "--json"))["batch_id"] == first
    assert first in _cli(table, "export", "digits", "--format", "csv")
    assert json.loads(_cli(table, "cancel", "digits", "--json")) == {"batch_id": first, "cancelled": 1}
    assert json.loads(_cli(table, "gc", "digits", "--dry-run", "--json"))["batches"][0]["batch_id"] == first
    second = write_batch(table, request(name="digits"), new_jobs(["7_ann_0"]))[0]
    refused = _cli(table, "cancel", "digits", code=2)
    assert f"several batches have the name 'digits', name one by its ID: {second}, {first}" in " ".join(refused.split())
    named_like_an_id = write_batch(table, request(name=first), new_jobs(["7_ann_0"]))[0]
    assert json.loads(_cli(table, "status", first, "--json"))["id"] == first
    assert named_like_an_id != first


def test_a_sorted_list_shows_what_it_is_sorted_by_and_an_export_names_its_file(table: Database) -> None:
    batch_id = write_batch(table, request(), new_jobs(["a"]))[0]
    claimed = claim(table, batch_id, 0, 0)
    finish(table, claimed, [Outcome(job=claimed.jobs[0], state=State.DONE, columns={"quality": {"peak": 0.625}})])
    assert "0.625" in _cli(table, "jobs", "--batch", batch_id, "--sort", "-peak")
    assert "0.625" not in _cli(table, "jobs", "--batch", batch_id, "--sort", "state")
    file = Path(table.url.database or "").with_name("jobs.csv")
    said = _cli(table, "export", batch_id, "--format", "csv", "--output", file)
    assert " ".join(said.split()).endswith(f"1 job in {file}")


def test_json_leaves_passwords_of_places_out_and_ids_as_they_are(table: Database) -> None:
    ID = "a://b:c@d"
    wanted = replace(request(), output="s3://user:hunter2@host/x", dataset="https://user:hunter2@host/d")
    batch_id = write_batch(table, wanted, new_jobs([ID]))[0]
    for command in (["status", batch_id], ["job", ID], ["jobs", "--batch", batch_id]):
        said = _cli(table, *command, "--json")
        assert "hunter2" not in said
        assert batch_id in said
    assert json.loads(_cli(table, "status", batch_id, "--json"))["output"] == "s3://***@host/x"
    assert json.loads(_cli(table, "job", ID, "--json"))["spectrogram_id"] == ID


@pytest.mark.parametrize("command", ["status", "wait", "cancel", "job"])
def test_a_name_that_is_not_utf_8_is_not_found(table: Database, command: str) -> None:
    assert "Traceback" not in (said := _cli(table, command, os.fsdecode(b"\xff"), code=1))
    assert "there is no" in said


def test_a_wait_tells_once_why_nothing_moves(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id, _ = write_batch(table, request(), new_jobs(["a", "b"]))
    claimed = claim(table, batch_id, 0, 1)
    away = [
        Outcome(job=job, state=State.QUEUED, error_code="storage-unavailable", error="the disk is away", blame=False)
        for job in claimed.jobs
    ]
    finish(table, claimed, away)
    monkeypatch.setattr(status, "_STANDSTILL_S", 0.0)
    with Producer(Settings(database_url=str(table.url))) as producer:
        standstill = status._Standstill(producer.batch(batch_id))
        assert standstill.new_reason(0) == "the disk is away"
        assert standstill.new_reason(0) is None
