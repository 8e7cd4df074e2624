"""What a supervisor and its Celery processes do about deaths, orders and devices; no lease ends in time to help."""

from __future__ import annotations

import json
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from chaos.processes import celery_processes, signal_process, worker_processes
from support.batches import claim, new_jobs, request
from support.rehearsals import Rehearsals
from support.slow_store import PROTOCOL, slow_store
from support.stack import eventually

from wavemill.jobs.control import cancel_batch
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.submit import write_batch

_FAKE_TENSORFLOW = """
import json, os, pathlib
names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS", "WAVEMILL_GPU_MEMORY_MB")
said = {name: os.environ.get(name) for name in names}
pathlib.Path(os.environ["SAID"], str(os.getpid())).write_text(json.dumps(said))
raise ImportError("only to see what it would have seen")
"""


def _ids(count: int) -> list[str]:
    return [f"clip-{k:03d}" for k in range(count)]


@pytest.mark.parametrize("victims", [worker_processes, celery_processes])
def test_jobs_of_a_process_that_was_killed_are_queued_again_at_once(rehearsals: Rehearsals, victims) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal:0.05") as supervisor:
        batch = rehearsals.submit(_ids(64))
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
        (pid,) = victims(supervisor.pid)
        signal_process(pid, signal.SIGKILL)
        assert rehearsals.wait(batch) == "done"
    lost = [a for job in batch.jobs() for a in rehearsals.producer.job(job.id)["attempts"] if a["outcome"] == "retry"]
    assert {attempt["error_code"] for attempt in lost} == {"worker-lost"}


def test_a_supervisor_that_can_open_no_file_keeps_its_workers_and_starts_more_when_it_can(
    rehearsals: Rehearsals,
) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal:0.05", "--per-device", 2) as supervisor:
        rehearsals.wait_for_workers(2)
        usual = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (3, usual[1]))
        signal_process(celery_processes(supervisor.pid)[0], signal.SIGKILL)
        eventually(lambda: "cannot be started" in rehearsals.log(), timeout_s=30, what="a start in vain")
        batch = rehearsals.submit(_ids(64))
        assert rehearsals.wait(batch) == "done"
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, usual)
        eventually(lambda: len(celery_processes(supervisor.pid)) == 2, what="another process")
    assert supervisor.returncode == 0


def _leave_torn(rehearsals: Rehearsals, output: str) -> None:
    """Put a batch into the table that is finished and was not cleared up after its dead worker."""
    database = rehearsals.producer.database
    batch_id, _ = write_batch(database, replace(request(), output=output), new_jobs(["7", "8"]))
    claim(database, batch_id, 0, 1, worker="dead", lease_s=-1.0)
    cancel_batch(database, batch_id)
    assert reclaim_expired(database) == {batch_id: 2}


def test_a_store_of_a_finished_batch_that_does_not_answer_stops_no_reaper(
    rehearsals: Rehearsals, tmp_path: Path
) -> None:
    rehearsals.environment |= slow_store(tmp_path, delay_s=600, log=tmp_path / "requests")
    _leave_torn(rehearsals, f"{PROTOCOL}://{tmp_path}/hangs")
    with rehearsals.running("worker", "--devices", "rehearsal:0.05") as supervisor:
        eventually(lambda: (tmp_path / "requests").exists(), what="a request to the store")
        batch = rehearsals.submit(_ids(64))
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
        signal_process(celery_processes(supervisor.pid)[0], signal.SIGKILL)  # its child ends with it
        assert rehearsals.wait(batch, timeout_s=40) == "done"
    assert supervisor.returncode == 0
    assert batch.status()["counts"]["done"] == 64


def test_of_a_chunk_of_64_with_a_killer_in_it_63_are_done_and_it_fails_alone(rehearsals: Rehearsals) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal"):
        batch = rehearsals.submit([*_ids(63), "poison"])
        assert rehearsals.wait(batch) == "failed"
    assert batch.status()["counts"]["done"] == 63
    (job,) = batch.jobs(state="failed")
    assert (job.spectrogram_id, job.error_code) == ("poison", "worker-lost")


def test_a_supervisor_that_is_told_to_stop_gives_back_what_is_left_and_counts_no_attempt(
    rehearsals: Rehearsals,
) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal:0.05"):
        batch = rehearsals.submit(_ids(64))
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
    counts = batch.status()["counts"]
    assert counts["queued"] > 0
    assert counts["queued"] + counts["done"] == 64
    assert {job.attempt for job in batch.jobs(state="queued")} == {0}
    assert not rehearsals.producer.workers()  # they have said goodbye


def test_draining_finishes_what_is_queued_leaves_what_is_paused_and_exits_with_0(rehearsals: Rehearsals) -> None:
    paused = rehearsals.submit(_ids(10))
    paused.pause()
    batch = rehearsals.submit([*_ids(100), "missing"])
    rehearsals.cli("worker", "--devices", "rehearsal", "--per-device", 2, "--drain", expect=0)
    assert batch.status()["counts"] == {"queued": 0, "running": 0, "done": 100, "failed": 1, "cancelled": 0}
    assert paused.status()["counts"]["queued"] == 10


def test_draining_waits_for_work_that_another_host_may_yet_lose(rehearsals: Rehearsals) -> None:
    batch = rehearsals.submit(_ids(64))
    with rehearsals.running("worker", "--devices", "rehearsal:1") as slow:
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
        with rehearsals.running("worker", "--devices", "rehearsal", "--drain") as draining:
            rehearsals.wait_for_workers(2)
            slow.send_signal(signal.SIGTERM)  # gives its chunk back
            slow.wait(60)
            assert draining.wait(60) == 0
    assert batch.status()["counts"]["done"] == 64


def test_each_process_sees_its_own_gpu_before_tensorflow_is_imported(rehearsals: Rehearsals) -> None:
    """The devices are those that a scheduler chose; what TensorFlow would see is written down by one that is none."""
    fake, said = rehearsals.folder / "fake/tensorflow", rehearsals.folder / "said"
    fake.mkdir(parents=True)
    said.mkdir()
    (fake / "__init__.py").write_text(_FAKE_TENSORFLOW)
    rehearsals.environment |= {
        "PYTHONPATH": f"{fake.parent}{os.pathsep}{rehearsals.environment['PYTHONPATH']}",
        "SAID": str(said),
        "CUDA_VISIBLE_DEVICES": "2,GPU-8c1e",
        "WAVEMILL_THREADS": "3",
    }

    def seen() -> list[dict[str, str]]:
        return [json.loads(text) for path in said.iterdir() if (text := Path(path).read_text())]

    with rehearsals.running("worker", "--devices", "all", "--per-device", 2, "--gpu-memory-mb", 2048):
        eventually(lambda: len(list(said.iterdir())) >= 4, what="four processes")
    assert {one["CUDA_VISIBLE_DEVICES"] for one in seen()} == {"2", "GPU-8c1e"}
    assert {(one["OMP_NUM_THREADS"], one["WAVEMILL_GPU_MEMORY_MB"]) for one in seen()} == {("3", "2048")}
    assert {one["CUDA_DEVICE_ORDER"] for one in seen()} == {None}  # the scheduler's numbers are in its own order
