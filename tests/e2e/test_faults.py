"""What the machine does to a worker in the middle of its work."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faults import faults
from support.outputs import check_outputs
from support.stack import QUICK, Stack, eventually

from wavemill.dataset.index import Dataset


def _submit(stack: Stack, dataset: Path):
    with Dataset.open(dataset) as opened:
        ids = list(opened.ids())
    return stack.producer.reconstruct(ids, dataset=dataset, model="small", output=stack.folder / "out")


@pytest.mark.timeout(600)
def test_an_input_that_kills_its_process_each_time_fails_alone(
    tmp_path: Path, models: Path, small_dataset: Path
) -> None:
    environment = {
        "WAVEMILL_MODELS": str(models),
        "WAVEMILL_CHUNK_SIZE": "4",
        **QUICK,
        **faults(tmp_path, poison="7_anna_0.npy"),
    }
    stack = Stack(tmp_path, environment)
    with stack.running("up", "--no-web", "--devices", "cpu"):
        batch = _submit(stack, small_dataset)
        assert stack.wait(batch, timeout_s=500) == "failed"  # TensorFlow is imported anew after each of five deaths
    job = next(batch.jobs(state="failed"))
    assert (job.spectrogram_id, job.error_code) == ("7_anna_0", "worker-lost")
    assert "died" in job.error
    check_outputs(batch, expect_done=19)
    stack.producer.close()


def test_jobs_wait_while_the_disk_is_full_and_are_done_when_there_is_room(
    tmp_path: Path, models: Path, small_dataset: Path
) -> None:
    full = tmp_path / "full"
    full.touch()
    environment = {"WAVEMILL_MODELS": str(models), **QUICK, **faults(tmp_path, full_while=full)}
    stack = Stack(tmp_path, {**environment, "WAVEMILL_MAX_ATTEMPTS": "1"})
    with stack.running("up", "--no-web", "--devices", "cpu"):
        batch = _submit(stack, small_dataset)
        eventually(lambda: stack.log().count("20 jobs in") >= 2, what="a second attempt on a full disk")
        eventually(lambda: [job.error_code for job in batch.jobs(state="queued")] == 20 * ["storage-unavailable"])
        assert "No space left on device" in stack.log()
        assert stack.log().count("trying again every few seconds") == 1
        full.unlink()
        assert stack.wait(batch) == "done"
    assert {job.attempt for job in batch.jobs()} == {1}  # nobody paid for the disk
    check_outputs(batch, expect_done=20)
    stack.producer.close()
