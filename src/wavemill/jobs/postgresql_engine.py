"""PostgreSQL through psycopg, straight or through a pooler such as PgBouncer in transaction mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from wavemill.jobs.patience import or_a_day

if TYPE_CHECKING:
    from wavemill.jobs.silence import ListeningConnection

_POOL_SIZE = 4  # a worker's work and its heartbeat, a supervisor's reaper
_PREPARE_THRESHOLD = 5  # psycopg's own
_PREPARED_IS_LOST = {"26000", "42P05"}
_IS_READ_ONLY = "25006"


def postgresql_engine(url: URL, *, silence_s: float | None) -> Engine:
    """Return an engine that connects when it is first used.

    In a pooler's transaction mode each transaction may meet another session. So nothing is SET for longer than a
    transaction, and prepared statements are for direct connections alone: without them a claim and a finish of 64 jobs
    take half as long again.
    """
    engine = create_engine(url, pool_pre_ping=True, pool_size=_POOL_SIZE, pool_timeout=or_a_day(silence_s))
    prepares = True

    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        from wavemill.jobs.silence import ListeningConnection  # psycopg, which SQLite does not need

        connection = ListeningConnection.open(*arguments, silence_s=silence_s, **{"prepare_threshold": None, **options})
        if prepares and not connection.is_pooled:
            connection.prepare_threshold = _PREPARE_THRESHOLD
        return connection

    def begin(connection: Connection) -> None:
        driver_connection = _driver_connection(connection)
        driver_connection.is_resting = False
        # One message, so that the limit costs no time.
        connection.exec_driver_sql("; ".join(["BEGIN", *driver_connection.idle_limit()]))

    def rest(connection: ListeningConnection | None, _record: Any) -> None:
        if connection is not None:  # it is, when it was lost
            connection.is_resting = True

    def connect_anew(context: ExceptionContext) -> None:
        nonlocal prepares
        sqlstate = getattr(context.original_exception, "sqlstate", None)
        if sqlstate in _PREPARED_IS_LOST:  # there is a pooler all the same: from now on without
            prepares = False
        if sqlstate in {_IS_READ_ONLY, *_PREPARED_IS_LOST}:  # after a failover the new primary has the old one's name
            context.is_disconnect = True

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", begin)
    event.listen(engine, "checkin", rest)
    event.listen(engine, "handle_error", connect_anew)
    return engine


def expect_pauses(connection: Connection, at_most_s: float | None) -> None:
    """Let this transaction be silent for so long; None: as short as others."""
    for statement in _driver_connection(connection).idle_limit(at_most_s):
        connection.exec_driver_sql(statement)


def _driver_connection(connection: Connection) -> ListeningConnection:
    return cast("ListeningConnection", connection.connection.driver_connection)
