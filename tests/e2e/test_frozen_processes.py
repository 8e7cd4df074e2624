"""Processes that stand still without being dead: the supervisor, which runs in this process, ends them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from chaos.processes import celery_processes, signal_process, worker_processes
from support.rehearsals import Rehearsals
from support.stack import eventually

from wavemill_worker import supervisor as supervising
from wavemill_worker.supervisor import Supervisor


@contextmanager
def supervised(stack: Rehearsals, monkeypatch: pytest.MonkeyPatch, **limits_s: float) -> Iterator[None]:
    """Run a supervisor with one worker, and with shorter limits."""
    for name, value in limits_s.items():
        monkeypatch.setattr(supervising, name, value)
    monkeypatch.setenv("PYTHONPATH", stack.environment["PYTHONPATH"])
    settings = stack.settings.model_copy(update={"lease_s": 1.0})
    supervisor = Supervisor(settings, device_list=["rehearsal:0.02"], per_device=1)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        eventually(lambda: worker_processes(os.getpid()), what="a worker")
        yield
    finally:
        supervisor.stop()
        thread.join(60)


def test_a_message_loop_that_stands_still_is_ended_and_work_goes_on(
    rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with supervised(rehearsals, monkeypatch, _LOOP_SILENCE_S=5.0):
        warm = rehearsals.submit([f"warm-{k}" for k in range(3)])
        assert rehearsals.wait(warm, timeout_s=60) == "done"
        (frozen,) = celery_processes(os.getpid())
        os.kill(frozen, signal.SIGSTOP)
        batch = rehearsals.submit([f"clip-{k:03d}" for k in range(32)])
        assert rehearsals.wait(batch, timeout_s=60) == "done"
        assert frozen not in celery_processes(os.getpid())
    assert caplog.text.count("its message loop has stood still for") == 1


def test_a_child_that_stands_still_is_ended_and_its_message_loop_gets_another(
    rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with supervised(rehearsals, monkeypatch, _CHILD_SILENCE_S=5.0):
        batch = rehearsals.submit([f"clip-{k:03d}" for k in range(128)])
        eventually(lambda: next(batch.jobs(state="running"), None), what="a running job")
        parents = celery_processes(os.getpid())
        (frozen,) = worker_processes(os.getpid())
        os.kill(frozen, signal.SIGSTOP)
        assert rehearsals.wait(batch, timeout_s=60) == "done"
        assert frozen not in worker_processes(os.getpid())
        assert celery_processes(os.getpid()) == parents
    assert caplog.text.count(f"process {frozen} has stood still") == 1


def test_a_process_that_is_woken_in_time_is_left_alone(
    rehearsals: Rehearsals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with supervised(rehearsals, monkeypatch, _LOOP_SILENCE_S=6.0, _CHILD_SILENCE_S=6.0):
        warm = rehearsals.submit([f"warm-{k}" for k in range(3)])
        assert rehearsals.wait(warm, timeout_s=60) == "done"
        frozen = [*celery_processes(os.getpid()), *worker_processes(os.getpid())]
        for pid in frozen:
            signal_process(pid, signal.SIGSTOP)
        woken = threading.Timer(2.0, lambda: [signal_process(pid, signal.SIGCONT) for pid in frozen])
        woken.start()
        batch = rehearsals.submit([f"clip-{k:03d}" for k in range(32)])
        assert rehearsals.wait(batch, timeout_s=60) == "done"
        woken.join()
        assert [*celery_processes(os.getpid()), *worker_processes(os.getpid())] == frozen
    assert "killed" not in caplog.text


def test_with_a_kombu_that_is_not_known_yet_a_worker_says_so_and_works(rehearsals: Rehearsals) -> None:
    with (rehearsals.folder / "sitecustomize.py").open("a") as script:
        script.write("import kombu\nkombu.VERSION = kombu.VERSION._replace(minor=99)\n")
    with rehearsals.running("worker", "--devices", "rehearsal:0.01"):
        batch = rehearsals.submit([f"clip-{k:03d}" for k in range(100)])
        assert rehearsals.wait(batch, timeout_s=60) == "done"
        said = rehearsals.log()
    assert "written for kombu and Celery 5.7" in said
    assert "Traceback" not in said
