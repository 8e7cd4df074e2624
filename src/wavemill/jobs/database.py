"""Connections to the table: SQLite in WAL mode or PostgreSQL, the same code on both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Float, create_engine, event, inspect, literal, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from wavemill.errors import DatabaseUnavailableError, SettingsError
from wavemill.jobs.schema import UtcDateTime
from wavemill.secrets_in_urls import without_secrets

_BUSY_TIMEOUT_S = 30


class now(FunctionElement[Any]):  # noqa: N801  a SQL function is written in lower case
    """The database's own clock plus `offset_s` seconds; no other clock decides anything."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset_s: float = 0.0) -> None:
        super().__init__(*([literal(float(offset_s), Float())] if offset_s else []))


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **options: Any) -> str:
    # %f has milliseconds; the zeros make it as long as the microseconds that SQLAlchemy stores, so that text sorts.
    later = "".join(f", {compiler.process(s, **options)} || ' seconds'" for s in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{later})"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **options: Any) -> str:
    later = "".join(f" + make_interval(secs => {compiler.process(s, **options)})" for s in element.clauses)
    return f"(clock_timestamp(){later})"


class Database:
    """One engine; made by the process that uses it, after any fork or spawn."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self.engine = _create_engine(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as exc:
            raise SettingsError(
                f"WAVEMILL_DATABASE_URL: {exc}; expected sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
            ) from exc
        except OSError as exc:
            raise SettingsError(f"the folder of the table cannot be made: {exc}; set WAVEMILL_HOME") from exc
        self._reading_engine = self.engine.execution_options(wavemill_reads_only=True)

    @property
    def is_postgresql(self) -> bool:
        """Whether COPY and row locks are to be had."""
        return self.engine.dialect.name == "postgresql"

    @property
    def name(self) -> str:
        """The URL without its password."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin, commit on leaving, roll back on an error; a lost database is a DatabaseUnavailableError."""
        with self._begin(self.engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a transaction that only reads, and so waits for no writer."""
        with self._begin(self._reading_engine) as connection:
            yield connection

    @contextmanager
    def _begin(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as exc:
            if _is_outage(exc):
                raise DatabaseUnavailableError(
                    f"the database {self.name} does not answer ({_first_line(exc)}); "
                    "check WAVEMILL_DATABASE_URL and that the server runs"
                ) from exc
            raise

    def is_migrated(self) -> bool:
        """Whether the tables exist."""
        with self.reading() as connection:
            return inspect(connection).has_table("batches")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _is_outage(exc: DBAPIError) -> bool:
    # OperationalError covers a lost or refused connection, a busy SQLite file, a full disk and a deadlock's victim;
    # DatabaseError itself, and not one of its kinds, a file that is no SQLite database or a damaged one.
    return exc.connection_invalidated or type(exc).__name__ in {"OperationalError", "InterfaceError", "DatabaseError"}


def _first_line(exc: DBAPIError) -> str:
    return str(exc.orig).strip().partition("\n")[0]


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=4, connect_args={"connect_timeout": 10})
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None  # the driver must not begin by itself; see _begin_immediate
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S}000")
    _switch_to_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    wait=wait_random(0.01, 0.1),
    stop=stop_after_delay(_BUSY_TIMEOUT_S),
    reraise=True,
)
def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    # Of processes that open a new file at once, SQLite tells some "database is locked" here without waiting.
    cursor.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: Connection) -> None:
    # A deferred BEGIN that later writes fails at once when another writer was faster; IMMEDIATE waits its turn.
    reads_only = connection.get_execution_options().get("wavemill_reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
