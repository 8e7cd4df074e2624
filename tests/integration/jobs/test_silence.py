# ruff: noqa: PT012  what is raised comes of the last of several statements in a transaction
"""PostgreSQL behind something that falls silent: noticed, given up, connected anew, and nothing lost by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import make_url, text
from support.batches import audit, claim, count_rows, new_jobs, request, submit
from support.postgres import Postgres, migrated
from support.proxy import Proxy
from support.stack import eventually

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.patience import answers_within
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.submit import write_batch

SILENCE_S = 2.0


@pytest.fixture(scope="module")
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
def far(server: Postgres, proxy: Proxy) -> Iterator[Database]:
    """The table, behind something that may fall silent."""
    url = make_url(server.url).set(port=proxy.port).render_as_string(hide_password=False)
    database = Database(url, silence_s=SILENCE_S)
    yield database
    database.close()


@pytest.fixture
def near(server: Postgres) -> Iterator[Database]:
    """The table itself."""
    database = Database(server.url)
    yield database
    database.close()


@pytest.mark.parametrize("end_at_server", [True, False])
def test_a_connection_that_rests_and_falls_silent_is_replaced_soon_and_unnoticed(
    far: Database, proxy: Proxy, end_at_server: bool
) -> None:
    patient = Database(far.url.render_as_string(hide_password=False), silence_s=20)
    submit(patient, 4)
    proxy.silence(end_at_server=end_at_server)
    time.sleep(1.1)  # it rests: who was heard just now is not asked
    begun = time.monotonic()
    submit(patient, 4)
    assert time.monotonic() - begun < 10
    patient.close()


def test_a_connection_that_falls_silent_in_a_transaction_is_an_outage_and_the_next_one_works(
    far: Database, proxy: Proxy
) -> None:
    with pytest.raises(DatabaseUnavailableError, match="has said nothing for 2 s"), far.transaction() as connection:
        connection.execute(text("SELECT 1"))
        proxy.silence(end_at_server=False)
        begun = time.monotonic()
        connection.execute(text("SELECT 1"))
    assert time.monotonic() - begun < SILENCE_S + 2
    submit(far, 4)


def test_the_locks_of_whoever_fell_silent_are_free_again(far: Database, near: Database, proxy: Proxy) -> None:
    batch_id = submit(far, 4)
    holder, begun = ExitStack(), time.monotonic()
    connection = holder.enter_context(far.transaction())
    connection.execute(text("UPDATE jobs SET attempt = 0"))
    proxy.silence(end_at_server=False)  # neither side knows
    claimed = claim(near, batch_id, 0, 3)
    assert len(claimed.jobs) == 4
    assert time.monotonic() - begun < SILENCE_S + 5
    with pytest.raises(DatabaseUnavailableError):
        holder.close()


def test_a_server_that_lets_nobody_in_is_an_outage_soon(far: Database, proxy: Proxy) -> None:
    proxy.silence(new=True)
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="timeout"), far.reading():
        pass
    assert time.monotonic() - begun < SILENCE_S + 3
    proxy.speak()
    submit(far, 1)


def test_a_statement_may_take_long_where_it_is_said(far: Database) -> None:
    with answers_within(None), far.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(2.5)"))
    with pytest.raises(DatabaseUnavailableError, match="said nothing"), far.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    begun = time.monotonic()
    with answers_within(0.3), pytest.raises(DatabaseUnavailableError), far.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    assert time.monotonic() - begun < SILENCE_S


def test_a_submission_that_loses_its_connection_half_way_says_that_nothing_was_queued(
    far: Database, near: Database, proxy: Proxy
) -> None:
    before = count_rows(near, jobs)

    def ids() -> Iterator[str]:
        for k in range(30_000):
            if k == 20_001:
                proxy.silence()
            yield f"{k}"

    with pytest.raises(DatabaseUnavailableError, match="nothing was queued"):
        write_batch(far, request(), new_jobs(ids()), patience_s=60)
    assert count_rows(near, jobs) == before


def test_a_submission_of_which_nothing_is_written_yet_begins_again(far: Database, proxy: Proxy) -> None:
    def ids() -> Iterator[str]:
        yield from ("a", "b")
        proxy.silence()

    batch_id, total = write_batch(far, request(), new_jobs(ids()), patience_s=60)
    assert total == 2
    audit(far, batch_id)


@contextmanager
def being_written(near: Database, key: str) -> Iterator[Callable[[], tuple[str, int]]]:
    """Hand in a batch's jobs slowly; yields a function that ends them and returns what was written."""
    begun, ending = threading.Event(), threading.Event()

    def ids() -> Iterator[str]:
        yield "a"
        begun.set()
        ending.wait(60)
        yield "b"

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write_batch, near, replace(request(), key=key), new_jobs(ids()))

        def end() -> tuple[str, int]:
            ending.set()
            return written.result()

        assert begun.wait(60)
        try:
            yield end
        finally:
            end()


def test_a_key_whose_batch_is_still_being_written_is_waited_for_however_long_that_takes(
    far: Database, near: Database
) -> None:
    with being_written(near, "slow") as end, ThreadPoolExecutor(1) as pool:
        second = pool.submit(write_batch, far, replace(request(), key="slow"), new_jobs(["a", "b"]))
        time.sleep(1.5 * SILENCE_S)
        first = end()
        assert second.result(60) == first
    assert write_batch(far, replace(request(), key="slow"), new_jobs(["a", "b"])) == first


def test_a_server_that_falls_silent_while_a_key_is_waited_for_is_an_outage(
    far: Database, near: Database, proxy: Proxy
) -> None:
    with being_written(near, "silent"), ThreadPoolExecutor(1) as pool:
        second = pool.submit(write_batch, far, replace(request(), key="silent"), new_jobs(["a", "b"]))
        eventually(lambda: proxy.silence(end_at_server=False), what="a connection that waits for the key")
        with pytest.raises(DatabaseUnavailableError, match="nothing was queued"):
            second.result(3 * SILENCE_S)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_answer_to_the_commit_of_a_submission_is_looked_up(
    far: Database, near: Database, proxy: Proxy, arrives: bool
) -> None:
    """The proxy swallows the answer alone, or the COMMIT too."""
    before = count_rows(near, batches)
    far.engine.dialect.do_commit = _commit_into_the_dark(far.engine.dialect.do_commit, proxy, arrives)  # type: ignore[method-assign]
    batch_id, total = write_batch(far, request(), new_jobs(["a", "b"]), patience_s=60)
    assert total == 2
    assert count_rows(near, batches) == before + 1
    audit(near, batch_id)


def _commit_into_the_dark(commit, proxy: Proxy, arrives: bool):
    done = threading.Event()

    def once(connection) -> None:
        if not done.is_set():
            done.set()
            proxy.silence(towards_server=not arrives, end_at_server=False)
        commit(connection)

    return once
