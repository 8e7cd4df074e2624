"""From recordings to WAVs through real servers and real worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from support.outputs import check_outputs
from support.stack import Stack, eventually

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.presets import PRESETS


@pytest.fixture(scope="module")
def large_dataset(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 spectrograms in ten nested folders."""
    folder = tmp_path_factory.mktemp("large")
    for k in range(10):
        shutil.copytree(clips, folder / "audio" / f"set-{k}")
    build(folder / "audio", folder / "dataset", PRESETS["digits"], jobs=1)
    return folder / "dataset"


def _start(stack: Stack, workers: int = 1):
    command = "worker" if stack.settings.broker_url else "up"
    option = "--per-device" if command == "worker" else "--workers"
    return stack.running(command, "--devices", "cpu", option, workers)


def test_recordings_become_wavs_and_every_digest_in_the_table_matches(stack: Stack, clips: Path) -> None:
    stack.cli("dataset", "build", clips, "data")
    with _start(stack):
        options = ["--dataset", "data", "--model", "small", "--output", "out", "--all", "--wait"]
        submitted = stack.json("submit", "reconstruct", *options)
        assert submitted["total"] == 20
        status = stack.json("status", submitted["batch_id"])
        assert status["state"] == "done"
        assert status["counts"] == {"queued": 0, "running": 0, "done": 20, "failed": 0, "cancelled": 0}
        check_outputs(stack.producer.batch(submitted["batch_id"]), expect_done=20)


def test_a_killed_workers_jobs_are_done_by_another_and_none_twice(stack: Stack, large_dataset: Path) -> None:
    with Dataset.open(large_dataset) as dataset:
        ids = list(dataset.ids())
    with _start(stack, workers=2):
        stack.wait_for_workers(2)
        batch = stack.producer.reconstruct(ids, dataset=large_dataset, model="small", output=stack.folder / "out")
        busy = eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
        victim = next(row["pid"] for row in stack.producer.workers() if row["id"] == busy.worker_id)
        os.kill(victim, signal.SIGKILL)
        assert stack.wait(batch) == "done"
        check_outputs(batch, expect_done=200)
        jobs = [stack.producer.job(job.id) for job in batch.jobs()]
    for job in jobs:
        assert [attempt["outcome"] for attempt in job["attempts"]].count("done") == 1
        assert len(job["attempts"]) == job["attempt"]
    lost = [job for job in jobs if job["attempts"][0]["error_code"] == "worker-lost"]
    assert lost, "nothing was lost: the kill came too late to show anything"
    assert all(job["attempts"][0]["worker_id"] == busy.worker_id for job in lost)


def test_an_orderly_stop_gives_work_back_without_counting_it(stack: Stack, large_dataset: Path) -> None:
    with Dataset.open(large_dataset) as dataset:
        ids = list(dataset.ids())
    with _start(stack):
        stack.wait_for_workers()
        batch = stack.producer.reconstruct(ids, dataset=large_dataset, model="small", output=stack.folder / "out")
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
    counts = batch.status()["counts"]
    assert counts["running"] == 0
    assert counts["queued"] > 0
    assert all(job.attempt == 0 for job in batch.jobs(state="queued"))
    with _start(stack):
        assert stack.wait(batch) == "done"
    check_outputs(batch, expect_done=200)
    assert all(job.attempt == 1 for job in batch.jobs())


def test_what_is_submitted_while_the_broker_is_down_goes_out_when_it_is_back(
    tmp_path: Path, models: Path, small_dataset: Path
) -> None:
    stack = Stack(tmp_path, {"WAVEMILL_MODELS": str(models), "WAVEMILL_SWEEP_S": "0.5"})
    options = ["--dataset", small_dataset, "--model", "small", "--output", "out", "--all", "--json"]
    done = stack.cli("submit", "reconstruct", *options)
    assert "is safe in the table and is sent when the broker is back" in done.stderr
    (batch,) = stack.producer.batches()
    assert batch["counts"]["queued"] == 20
    waited = stack.cli("wait", batch["id"], "--timeout", "0.1", expect=1)
    assert "no worker is alive; start one with" in waited.stderr
    listed = stack.cli("jobs", "--batch", batch["id"], "--limit", "5", "--json")
    assert len(listed.stdout.splitlines()) == 5
    assert f"there may be more: --after {json.loads(listed.stdout.splitlines()[-1])['id']}" in listed.stderr
    with _start(stack):
        stack.cli("wait", batch["id"])
    check_outputs(stack.producer.batch(batch["id"]), expect_done=20)
    stack.producer.close()
