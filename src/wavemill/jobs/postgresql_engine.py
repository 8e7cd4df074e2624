"""The SQLAlchemy engine for PostgreSQL: psycopg, direct or through a pooler such as PgBouncer in transaction mode."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from wavemill.jobs.patience import day_if_none

if TYPE_CHECKING:
    from wavemill.jobs.silence import ListeningConnection

_POOL_SIZE = 4  # a worker's work and its heartbeat, a supervisor's reaper
_LATELY = 0.05  # of the limit: checking before every transaction would slow down the short ones
_PREPARE_THRESHOLD = 5  # psycopg's own
_PREPARED_IS_LOST = {"26000", "42P05"}
_IS_READ_ONLY = "25006"


def postgresql_engine(url: URL, *, silence_s: float | None) -> Engine:
    """Return an engine that connects when it is first used.

    In a pooler's transaction mode each transaction may get another session. So every SET is local to a
    transaction, and only direct connections use prepared statements. Without prepared statements,
    claiming and finishing 64 jobs takes half as long again.
    """
    engine = create_engine(url, pool_size=_POOL_SIZE, pool_timeout=day_if_none(silence_s))
    listener = _Listener(engine, silence_s)
    event.listen(engine, "do_connect", listener.connect)
    event.listen(engine, "begin", listener.begin)
    event.listen(engine, "checkout", listener.check)
    event.listen(engine, "checkin", listener.rest)
    event.listen(engine, "handle_error", listener.connect_anew)
    return engine


class _Listener:
    """Handlers for an engine's events: connect, checkout, begin, checkin and error."""

    def __init__(self, engine: Engine, silence_s: float | None) -> None:
        assert engine.dialect.loaded_dbapi is not None  # by create_engine
        self._dialect = engine.dialect
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._silence_s = silence_s
        self._prepares = True

    def connect(self, _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        from wavemill.jobs.silence import ListeningConnection  # imported here: SQLite does not need psycopg

        options = {"prepare_threshold": None, **options}
        connection = ListeningConnection.open(*arguments, silence_s=self._silence_s, **options)
        if self._prepares and not connection.is_pooled:
            connection.prepare_threshold = _PREPARE_THRESHOLD
        return connection

    def check(self, connection: ListeningConnection, _record: Any, _fairy: Any) -> None:
        """Ping a connection that has been idle for a while; if it is dead, the pool replaces all of its connections."""
        if (
            connection.rests_since is None
            or monotonic() - connection.rests_since < day_if_none(self._silence_s) * _LATELY
        ):
            return
        try:
            connection.execute("")
        except self._error as exc:
            raise InvalidatePoolError from exc

    def begin(self, connection: Connection) -> None:
        driver_connection = _driver_connection(connection)
        try:
            driver_connection.begin(locks=not connection.get_execution_options().get("wavemill_reads_only"))
        except self._error as exc:
            is_lost = driver_connection.closed
            if is_lost:
                connection.invalidate(exc)
            raise DBAPIError.instance(
                "BEGIN", None, exc, self._error, connection_invalidated=is_lost, dialect=self._dialect
            ) from exc

    def rest(self, connection: ListeningConnection | None, _record: Any) -> None:
        if connection is not None:  # None when the connection was lost
            connection.rests_since = monotonic()

    def connect_anew(self, context: ExceptionContext) -> None:
        sqlstate = getattr(context.original_exception, "sqlstate", None)
        if sqlstate in _PREPARED_IS_LOST:  # an undetected pooler: stop preparing
            self._prepares = False
        if sqlstate in {_IS_READ_ONLY, *_PREPARED_IS_LOST}:  # after a failover the new primary has the old one's name
            context.is_disconnect = True


def expect_pauses(connection: Connection, at_most_s: float | None) -> None:
    """Let this transaction stay idle for up to `at_most_s` seconds; None restores the usual limit."""
    for statement in _driver_connection(connection).idle_limit(at_most_s):
        connection.exec_driver_sql(statement)


def _driver_connection(connection: Connection) -> ListeningConnection:
    return cast("ListeningConnection", connection.connection.driver_connection)
