"""Who waits for a batch while the table is away: says so once, goes on, and keeps to the time that was given."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from support.batches import all_done, claim, finish, submit
from support.postgres import Postgres, migrated
from support.proxy import Proxy
from support.stack import COMMAND, Stack, eventually

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.control import cancel_batch


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = migrated()
    yield server
    server.close()


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    port = make_url(server.url).port
    assert port is not None
    proxy = Proxy(port)
    yield proxy
    proxy.close()


@pytest.fixture
def stack(server: Postgres, proxy: Proxy, tmp_path: Path) -> Iterator[Stack]:
    """Producers alone; no worker."""
    url = make_url(server.url).set(port=proxy.port).render_as_string(hide_password=False)
    environment = {
        "WAVEMILL_DATABASE_URL": url,
        "WAVEMILL_BROKER_URL": "redis://127.0.0.1:1/0",
        "WAVEMILL_SILENCE_S": "4",
    }
    stack = Stack(tmp_path, environment)
    yield stack
    stack.producer.close()


def _started(stack: Stack, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=stack.environment,
        cwd=stack.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(stack: Stack, batch_id: str) -> None:
    claimed = claim(stack.producer.database, batch_id, 0, 3)
    finish(stack.producer.database, claimed, all_done(claimed))


def _lines(stream, until: str) -> list[str]:
    lines = []
    for line in stream:
        lines.append(line)
        if until in line:
            return lines
    raise AssertionError(f"{until!r} was never said: {lines}")


def test_wait_outlasts_a_crash_of_the_server_and_says_so_once(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 4)
    waiting = _started(stack, "wait", batch_id)
    assert waiting.stderr is not None
    _lines(waiting.stderr, "no worker is alive")
    server.crash()
    said = _lines(waiting.stderr, "waiting for it")
    server.start()
    said += _lines(waiting.stderr, "the table answers again")
    _finish(stack, batch_id)
    rest = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 0, rest
    assert len(said) == 2
    assert "waiting for it" not in rest


def test_wait_outlasts_a_table_that_is_away_when_it_starts(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 4)
    _finish(stack, batch_id)
    server.crash()
    waiting = _started(stack, "wait", batch_id)
    assert waiting.stderr is not None
    _lines(waiting.stderr, "waiting for it")
    server.start()
    assert waiting.wait(60) == 0
    waiting.communicate()


@pytest.mark.parametrize("new", [True, False])
def test_wait_keeps_to_its_time_when_the_table_falls_silent(stack: Stack, proxy: Proxy, new: bool) -> None:
    """New connections work, and the batch is still not finished; or they are silent too."""
    batch_id = submit(stack.producer.database, 4)
    batch = stack.producer.batch(batch_id)
    proxy.silence(new=new)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="after 1 s"):
        batch.wait(timeout_s=1)
    assert time.monotonic() - begun < 5
    proxy.speak()


def test_wait_ends_at_ctrl_c_while_the_table_is_away(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 4)
    server.crash()
    waiting = _started(stack, "wait", batch_id)
    assert waiting.stderr is not None
    _lines(waiting.stderr, "waiting for it")
    waiting.send_signal(signal.SIGINT)
    assert "interrupted" in waiting.communicate(timeout=20)[1]
    assert waiting.returncode == 1
    server.start()


def test_watch_outlasts_a_crash_of_the_server(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 4)
    watching = _started(stack, "status", batch_id, "--watch")
    assert watching.stderr is not None
    server.crash()
    _lines(watching.stderr, "waiting for it")
    server.start()
    _lines(watching.stderr, "the table answers again")
    _finish(stack, batch_id)
    assert watching.wait(60) == 0
    watching.communicate()


def test_jobs_are_read_on_across_a_crash_of_the_server(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 2_500)
    jobs = stack.producer.batch(batch_id).jobs()
    seqs = [next(jobs).seq]
    server.crash()
    starting = threading.Timer(2.0, server.start)
    starting.start()
    seqs += [job.seq for job in jobs]
    starting.join()
    assert seqs == list(range(2_500))


def test_questions_and_orders_outlast_a_short_outage(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 4)
    batch = stack.producer.batch(batch_id)
    for ask in (batch.status, batch.pause, batch.cancel, stack.producer.batches):
        server.crash()
        starting = threading.Timer(1.0, server.start)
        starting.start()
        ask()
        starting.join()
    assert batch.status()["state"] == "cancelled"


@pytest.mark.parametrize("command", ["status", "doctor"])
@pytest.mark.parametrize("is_silent", [True, False])
def test_who_asks_while_the_table_is_away_hears_so_soon(
    stack: Stack, server: Postgres, proxy: Proxy, command: str, is_silent: bool
) -> None:
    if is_silent:
        proxy.silence(new=True)
    else:
        server.crash()
    begun = time.monotonic()
    done = stack.cli(command, expect=1)
    assert time.monotonic() - begun < 60, "one wait for an answer, not one for each question"
    said = done.stdout + done.stderr
    assert f"the database {stack.producer.database.name} does not answer" in said
    assert "Traceback" not in said
    if not is_silent:
        server.start()


def test_a_submission_outlasts_a_short_outage(stack: Stack, server: Postgres, small_dataset: Path) -> None:
    server.crash()
    submitting = _started(stack, "submit", "invert", "--dataset", small_dataset, "--all", "--output", "out", "--json")
    assert submitting.stderr is not None
    _lines(submitting.stderr, "waiting for it")
    server.start()
    out, err = submitting.communicate(timeout=60)
    assert submitting.returncode == 0, err
    assert '"total": 20' in out


def test_what_the_database_refuses_is_one_sentence(stack: Stack, server: Postgres) -> None:
    submit(stack.producer.database, 1)
    with stack.producer.database.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE batches RENAME COLUMN priority TO importance")
    done = stack.cli("status", expect=1)
    assert done.stderr.startswith("wavemill: the database refused a statement: column batches.priority does not exist")
    assert len(done.stderr.splitlines()) == 1


def test_an_outage_that_lasts_is_raised(stack: Stack, server: Postgres) -> None:
    batch_id = submit(stack.producer.database, 1)
    batch = stack.producer.batch(batch_id)
    batch._patience_s = 1.0
    server.crash()
    with pytest.raises(DatabaseUnavailableError):
        batch.cancel()
    server.start()
    cancel_batch(stack.producer.database, batch_id)
    eventually(lambda: batch.status()["state"] == "cancelled")
