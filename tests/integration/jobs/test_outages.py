# ruff: noqa: PT012  what is raised comes of the last of several statements in a transaction
"""What a real server or file does to whoever asks it, and how it is taken."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.exc import OperationalError as SqlOperationalError
from support.batches import all_done, claim, finish, submit
from support.postgres import Postgres, migrated
from support.stack import eventually

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.patience import answers_within


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server with twelve connections, three of which are for its superuser."""
    server = migrated("max_connections=12")
    yield server
    server.close()


@pytest.fixture
def near(server: Postgres) -> Iterator[Database]:
    """The table itself."""
    database = Database(server.url)
    yield database
    database.close()


@contextmanager
def _administrator(server: Postgres) -> Iterator[psycopg.Connection]:
    url = make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off")) as connection:
        yield connection


def _set(server: Postgres, setting: str, value: str) -> None:
    with _administrator(server) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
    eventually(lambda: _shown(server, setting) == value, what=setting)


def _shown(server: Postgres, setting: str) -> str:
    url = make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(url)) as connection:
        return connection.execute(f"SHOW {setting}").fetchone()[0]


def test_a_read_only_server_is_an_outage_after_which_we_connect_anew(server: Postgres, near: Database) -> None:
    """After a failover the old primary still answers on old connections, and the new one has its name."""
    batch_id = submit(near, 4)
    before = _pid(near)
    assert _pid(near) == before
    _set(server, "default_transaction_read_only", "on")
    try:
        with pytest.raises(DatabaseUnavailableError, match="is read-only, as a standby is"):
            claim(near, batch_id, 0, 3)
    finally:
        _set(server, "default_transaction_read_only", "off")
    assert _pid(near) != before
    claimed = claim(near, batch_id, 0, 3)
    assert finish(near, claimed, all_done(claimed)) == 4


def _pid(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(text("SELECT pg_backend_pid()"))


def test_a_server_without_a_free_connection_is_an_outage(server: Postgres) -> None:
    role = "CREATE ROLE guest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO guest"
    with ExitStack() as stack, _administrator(server) as administrator:
        administrator.execute(role)
        url = make_url(server.url).set(username="guest")
        with pytest.raises(psycopg.OperationalError, match=r"slots|too many"):
            while True:
                plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
                stack.enter_context(closing(psycopg.connect(plain)))
        database = Database(url.render_as_string(hide_password=False))
        with pytest.raises(DatabaseUnavailableError, match=r"slots|too many"), database.reading():
            pass
        stack.close()
        with database.reading():
            pass
        database.close()


def test_a_session_that_the_server_ends_or_whose_statement_it_stops_is_an_outage(
    server: Postgres, near: Database
) -> None:
    with near.reading() as connection:
        connection.execute(text("SELECT 1"))
    with pytest.raises(DatabaseUnavailableError), near.transaction() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with _administrator(server) as administrator:
            administrator.execute(f"SELECT pg_terminate_backend({pid})")
        connection.execute(text("SELECT pg_sleep(10)"))
    submit(near, 1)
    with pytest.raises(DatabaseUnavailableError, match="stopped"), near.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 100"))
        connection.execute(text("SELECT pg_sleep(10)"))
    submit(near, 1)


def test_a_limit_of_the_servers_own_that_is_shorter_stands_and_is_an_outage(server: Postgres) -> None:
    _set(server, "idle_in_transaction_session_timeout", "500ms")
    database = Database(server.url)
    try:
        with pytest.raises(DatabaseUnavailableError), database.transaction() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            with _administrator(server) as administrator:
                seen = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
                eventually(lambda: administrator.execute(seen, (pid,)).fetchone() == (0,), timeout_s=10)
            connection.execute(text("SELECT 1"))
    finally:
        _set(server, "idle_in_transaction_session_timeout", "0")
        database.close()


def test_a_prepared_statement_that_is_lost_is_an_outage_once(near: Database) -> None:
    def ask() -> None:
        with near.transaction() as connection:
            connection.execute(text("SELECT count(*) FROM batches"))

    for _ in range(8):  # psycopg prepares what comes often
        ask()
    with near.transaction() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")), "nothing is prepared"
        connection.exec_driver_sql("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")  # psycopg does not see it
    with pytest.raises(DatabaseUnavailableError, match="prepared"):
        ask()
    for _ in range(8):
        ask()


def test_a_mistake_is_no_outage(database: Database) -> None:
    with pytest.raises((ProgrammingError, SqlOperationalError), match="nothing"), database.transaction() as connection:
        connection.execute(text("SELECT nothing FROM jobs"))
    if database.is_postgresql:
        with pytest.raises(DataError, match="out of range"):  # of COPY, which goes past SQLAlchemy
            submit(database, 1, max_attempts=2**40)
    submit(database, 1)


def test_no_connection_left_in_the_pool_is_an_outage(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'table.db'}", silence_s=0.2)
    with ExitStack() as stack, pytest.raises(DatabaseUnavailableError, match="all connections"):
        for _ in range(50):
            stack.enter_context(database.reading())
    database.close()


def test_a_lock_of_sqlite_is_waited_for_as_long_as_is_said(tmp_path: Path) -> None:
    path = tmp_path / "table.db"
    patient = Database(f"sqlite:///{path}", silence_s=30)
    upgrade(patient)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(3.0, holder.execute, ["COMMIT"]).start()
        begun = time.monotonic()
        submit(patient, 1)
        assert time.monotonic() - begun > 1
        holder.execute("BEGIN IMMEDIATE")
        hasty = Database(f"sqlite:///{path}", silence_s=0.5)
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="locked by somebody else"):
            submit(hasty, 1)
        with answers_within(0.5), pytest.raises(DatabaseUnavailableError, match="locked"):
            submit(patient, 1)
        assert time.monotonic() - begun < 10
        holder.execute("COMMIT")
    hasty.close()
    patient.close()


def test_a_damaged_sqlite_file_is_an_outage_until_it_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "table.db"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    database = Database(f"sqlite:///{path}", silence_s=1)
    with pytest.raises(DatabaseUnavailableError, match="is damaged"), database.reading():
        pass
    path.unlink()
    upgrade(database)
    database.close()
