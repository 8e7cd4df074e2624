"""Connections to the table: SQLite in WAL mode or PostgreSQL, the same code on both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Float, bindparam, inspect, literal, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from wavemill.errors import DatabaseUnavailableError, SettingsError
from wavemill.jobs import outages
from wavemill.jobs.postgresql_engine import postgresql_engine
from wavemill.jobs.schema import UtcDateTime
from wavemill.jobs.sqlite_engine import sqlite_engine
from wavemill.server_urls import checked_database_url
from wavemill.text.secrets_in_urls import without_secrets

if TYPE_CHECKING:
    from wavemill.jobs.label_filters import LabelsOf

# Long enough for every statement (none takes a tenth of it) and for the locks that it waits for.
# Short enough that work on a dead connection continues on a new one within half a minute.
SILENCE_S = 20.0


class now(FunctionElement[Any]):  # noqa: N801  a SQL function is written in lower case
    """The database's clock plus `offset_s` seconds; every decision goes by this clock."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset_s: float = 0.0) -> None:
        super().__init__(*([literal(float(offset_s), Float())] if offset_s else []))


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **options: Any) -> str:
    # %f has milliseconds. The zeros make it as long as the microseconds that SQLAlchemy stores, so
    # that text sorts.
    later = "".join(f", {compiler.process(s, **options)} || ' seconds'" for s in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{later})"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **options: Any) -> str:
    later = "".join(f" + make_interval(secs => {compiler.process(s, **options)})" for s in element.clauses)
    return f"(clock_timestamp(){later})"


class Database:
    """One engine. Each process makes its own, after any fork or spawn.

    Parameters
    ----------
    silence_s : float, optional
        A server that says nothing for this long, or an SQLite lock that is held for this long,
        counts as an outage. None: wait for ever; workers always set a limit.

    Attributes
    ----------
    labels_of : callable or None
        Looks up the labels of jobs, for filters. Processes that read datasets set it.
    """

    def __init__(self, url: str, *, silence_s: float | None = SILENCE_S) -> None:
        try:
            self.url = make_url(checked_database_url(url))
            self.engine = _engine(self.url, silence_s)
        except ValueError as exc:
            raise SettingsError(f"WAVEMILL_DATABASE_URL: {exc}") from exc
        except OSError as exc:
            raise SettingsError(f"cannot create the table's folder: {exc}; set WAVEMILL_HOME") from exc
        self.silence_s = silence_s
        self.labels_of: LabelsOf | None = None
        self._reading_engine = self.engine.execution_options(wavemill_reads_only=True)
        assert self.engine.dialect.loaded_dbapi is not None  # create_engine has loaded it
        self._driver_error: type[Exception] = self.engine.dialect.loaded_dbapi.Error

    @property
    def is_postgresql(self) -> bool:
        """Whether the database has COPY and row locks."""
        return self.engine.dialect.name == "postgresql"

    @property
    def name(self) -> str:
        """The URL without its password."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a transaction that commits at the end of the block and rolls back on an error.

        Raises DatabaseUnavailableError if the database is lost.
        """
        with self._begin(self.engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a transaction that only reads, and so does not wait for writers."""
        with self._begin(self._reading_engine) as connection:
            yield connection

    @contextmanager
    def _begin(self, engine: Engine) -> Iterator[Connection]:
        driver_connection: Any = None
        try:
            with engine.begin() as connection:
                driver_connection = connection.connection.driver_connection
                yield connection
        except PoolTimeoutError as exc:
            raise DatabaseUnavailableError(f"all connections to {self.name} are in use ({first_line(exc)})") from exc
        except DBAPIError as exc:
            is_lost = exc.connection_invalidated or driver_connection is None
            self._raise_if_outage(exc.orig or exc, is_lost=is_lost)
            raise
        except self._driver_error as exc:  # from a call that bypasses SQLAlchemy, such as COPY
            self._raise_if_outage(exc, is_lost=getattr(driver_connection, "closed", False))
            raise DBAPIError.instance(None, None, exc, self._driver_error, dialect=self.engine.dialect) from exc

    def _raise_if_outage(self, exc: BaseException, *, is_lost: bool) -> None:
        if (reason := outages.reason(exc, is_lost=is_lost)) is None:
            return
        advice = "; check WAVEMILL_DATABASE_URL and that the server runs" if reason == outages.LOST else ""
        raise DatabaseUnavailableError(f"the database {self.name} {reason} ({first_line(exc)}){advice}") from exc

    def is_migrated(self) -> bool:
        """Whether the tables exist."""
        with self.reading() as connection:
            return inspect(connection).has_table("batches")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: URL, silence_s: float | None) -> Engine:
    if url.get_backend_name() == "sqlite":
        return sqlite_engine(url, silence_s=silence_s)
    return postgresql_engine(url.set(drivername="postgresql+psycopg"), silence_s=silence_s)


def is_among(column: ColumnElement[int], numbers: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these numbers, written into the SQL: many parameters are slower."""
    return column.in_(bindparam("numbers", list(numbers), unique=True, expanding=True, literal_execute=True))


def first_line(exc: object) -> str:
    """Return the first line of what an error says."""
    return str(exc).strip().partition("\n")[0]
