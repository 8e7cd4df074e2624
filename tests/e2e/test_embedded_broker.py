"""The embedded broker among several `wavemill up`, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoServer
from support.stack import COMMAND, Stack, eventually

from wavemill.settings import Settings
from wavemill_producer.embedded import answers, embedded_broker


@pytest.fixture
def alone(tmp_path: Path, models: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path, {"WAVEMILL_MODELS": str(models)})
    yield stack
    stack.producer.close()
    with suppress(NoServer):  # what a failed test may have left
        broker(stack).shutdown(nosave=True)


def broker(stack: Stack) -> Redis:
    return Redis(unix_socket_path=str(stack.settings.valkey_socket))


def server_pid(stack: Stack) -> int:
    return int(broker(stack).info("server")["process_id"])


def new_server(stack: Stack, than: int) -> int:
    def other() -> int:
        with suppress(NoServer):
            return (pid := server_pid(stack)) != than and pid
        return 0

    return eventually(other, what="a new broker", timeout_s=30)


@contextmanager
def up(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    started = ups(stack)
    with stack.running("up", "--no-web", "--workers", "0") as process:
        eventually(lambda: ups(stack) > started, what="the broker", timeout_s=60)
        yield process


def ups(stack: Stack) -> int:
    """Count those that have said that they are ready."""
    return stack.log().count("Ctrl-C stops") if (stack.folder / "log").exists() else 0


def test_a_broker_that_was_killed_is_started_again_with_what_it_held(alone: Stack) -> None:
    with up(alone):
        broker(alone).set("kept", "1")
        killed = server_pid(alone)
        eventually(lambda: broker(alone).info("persistence")["aof_pending_bio_fsync"] == 0)
        os.kill(killed, signal.SIGKILL)
        new_server(alone, than=killed)
        assert broker(alone).get("kept") == b"1"
        assert "was started again" in eventually(lambda: "again" in alone.log() and alone.log())
    assert not answers(alone.settings.valkey_socket)


def test_two_that_start_at_once_share_one_broker_and_the_second_takes_it_over(alone: Stack) -> None:
    with (
        alone.running("up", "--no-web", "--workers", "0") as one,
        alone.running("up", "--no-web", "--workers", "0") as other,
    ):
        eventually(lambda: ups(alone) == 2, what="both", timeout_s=60)
        assert alone.log().count("run by another process") == 1
        pid = server_pid(alone)
        holder = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        first, second = (one, other) if int(holder) == one.pid else (other, one)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        new_server(alone, than=pid)
        assert second.poll() is None
    assert not answers(alone.settings.valkey_socket)


def test_a_broker_whose_up_was_killed_is_taken_over_and_stopped_by_the_next(alone: Stack) -> None:
    with up(alone) as process:
        orphan = server_pid(alone)
        process.kill()
        process.wait()
        with up(alone):
            assert server_pid(alone) == orphan
    assert not answers(alone.settings.valkey_socket)


def test_a_closed_terminal_ends_everything_and_nohup_ends_nothing(alone: Stack) -> None:
    with up(alone) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    assert not answers(alone.settings.valkey_socket)
    with (alone.folder / "log").open("ab") as log:
        immune = subprocess.Popen(
            ["nohup", *COMMAND, "up", "--no-web", "--workers", "0"], env=alone.environment, stdout=log, stderr=log
        )
    try:
        eventually(lambda: ups(alone) == 2, timeout_s=60)
        immune.send_signal(signal.SIGHUP)
        killed = server_pid(alone)
        os.kill(killed, signal.SIGKILL)
        new_server(alone, than=killed)  # it still looks after its broker
    finally:
        immune.terminate()
        assert immune.wait(60) == 0


def test_another_broker_that_is_named_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, broker_url="redis://:secret@broker:6379/0")
    with embedded_broker(settings) as named:
        assert named.where == "broker: redis://***@broker:6379/0 (WAVEMILL_BROKER_URL)"
        assert not named.tend()
    assert list(tmp_path.iterdir()) == []


def test_an_up_whose_broker_died_with_damaged_files_goes_on_with_an_empty_one(alone: Stack) -> None:
    with up(alone) as process:
        broker(alone).set("key", "1")
        killed = server_pid(alone)
        for manifest in (alone.settings.home / "valkey" / "appendonlydir").glob("*.manifest"):
            manifest.write_text("no manifest\n")
        os.kill(killed, signal.SIGKILL)
        new_server(alone, than=killed)
        assert broker(alone).dbsize() == 0
        assert process.poll() is None
    assert alone.log().count("set aside") == 1
    assert "Traceback" not in alone.log()


def test_an_up_that_cannot_start_its_broker_again_says_so_once_and_tries_on(alone: Stack) -> None:
    folder = alone.settings.home / "valkey"
    with up(alone) as process:
        killed = server_pid(alone)
        lent = folder.rename(folder.with_name("elsewhere"))
        folder.write_text("a file in its place")
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: "did not start" in alone.log(), what="a try", timeout_s=30)
        folder.unlink()
        lent.rename(folder)
        new_server(alone, than=killed)
        assert process.poll() is None
    assert alone.log().count("did not start") == 1
