"""A psycopg connection that gives up when the PostgreSQL server stops answering.

TCP keepalives and `tcp_user_timeout` detect a host that is gone. They miss a server that is stuck while
something still acknowledges our packets: a load balancer, a proxy, the kernel of a host whose server
process is stopped. So this connection times psycopg's own waits.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, NoReturn, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen

from wavemill.jobs.patience import limit_s

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SIGN_OF_LIFE, _LEAST_SIGN_S = 0.25, 2.0  # a loaded machine may take seconds to answer

_CONNECT_S = 10.0  # a healthy server accepts at once
_LEAST_CONNECT_S = 2.0  # libpq's own minimum
_SESSION = """
    SELECT pg_backend_pid(), extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)
"""
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the server's default is


class ListeningConnection(psycopg.Connection[Any]):
    """Raises OperationalError and closes itself when the server is silent for `silence_s` seconds; None: never.

    The first statement after checkout from the pool waits only a quarter of that, as a healthy server
    answers it at once. So a heartbeat on a dead connection can still use another before its lease ends.
    """

    silence_s: float | None = None
    rests_since: float | None = None  # time of its return to the pool; None once a transaction has begun
    is_pooled = False  # whether a pooler stands before the server
    _server_idle_s = 0.0
    _formats: tuple[str, ...] = ()  # statements that make this session's dates readable

    @classmethod
    def open(cls, *arguments: Any, silence_s: float | None, **options: Any) -> Self:
        """Connect in autocommit mode; `options` override the network options derived from `silence_s`.

        The client encoding is always UTF-8, whatever the server, the role or `PGCLIENTENCODING` says: with
        others psycopg cannot send every name, or returns bytes.
        """
        options = {**_network_options(silence_s), **options, "client_encoding": "utf8"}
        connection = cls.connect(*arguments, autocommit=True, **options)
        connection.silence_s = silence_s
        try:
            pid, server_idle_s = connection.execute(_SESSION).fetchone() or (0, 0)
        except BaseException:
            connection.close()
            raise
        # A pooler reports its own process ID to clients.
        connection.is_pooled = pid != connection.info.backend_pid
        connection._server_idle_s = float(server_idle_s)
        connection._formats = _needed_formats(connection)
        return connection

    def begin(self, *, locks: bool) -> None:
        """Begin a transaction in one message; if it `locks`, have the server end it when this client vanishes."""
        statements = [_BEGIN, *self._formats, *(self.idle_limit() if locks else ())]
        with self.lock:
            self.pgconn.send_query("; ".join(statements).encode())
            for result in self.wait(generators.execute(self.pgconn)):
                if result.status != pq.ExecStatus.COMMAND_OK:
                    raise psycopg.errors.error_from_result(result)
        self.rests_since = None

    def idle_limit(self, at_most_s: float | None = None) -> list[str]:
        """Return statements that make the server end this transaction when it is idle; `silence_s` by default.

        Otherwise a vanished client's locks would last for the two hours of TCP's keepalives. The limit is
        local to the transaction, as a pooler may give the session to another client next. A shorter limit
        of the server's own stays in force.
        """
        limit = limit_s(self.silence_s) if at_most_s is None else at_most_s
        if limit is None or 0 < self._server_idle_s <= limit:
            return []
        return [f"SET LOCAL idle_in_transaction_session_timeout = {int(limit * 1000)}"]

    def wait(self, gen: PQGen[T], *arguments: Any, **keywords: Any) -> T:
        """Run a psycopg generator; give up when the server is silent for too long."""
        limit = limit_s(self.silence_s)
        if limit is not None and self.rests_since is not None:
            limit = min(limit, max(limit * _SIGN_OF_LIFE, _LEAST_SIGN_S))
        return super().wait(gen if limit is None else self._listening(gen, limit), *arguments, **keywords)

    def _listening(self, gen: PQGen[T], limit: float) -> PQGen[T]:
        """Pass values between psycopg's generator and its wait loop, and time the silences.

        The wait loop returns every 0.1 s, with READY_NONE (0) when the socket has nothing.
        """
        silent_since: float | None = None
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    silent_since = None
                elif silent_since is None:  # the clock is first read here: most answers come at once
                    silent_since = monotonic()
                elif monotonic() - silent_since > limit:
                    self._give_up(gen, limit)
                wanted = gen.send(ready)
        except StopIteration as finished:
            value: T = finished.value
            return value

    def _give_up(self, gen: PQGen[Any], limit: float) -> NoReturn:
        gen.close()
        self.pgconn.finish()
        logger.warning("the database server has said nothing for %g s; closing the connection", limit)
        raise psycopg.OperationalError(f"the server has said nothing for {limit:g} s")


def _network_options(silence_s: float | None) -> dict[str, Any]:
    now_s = limit_s(silence_s)
    connect_timeout = int(_CONNECT_S if now_s is None else max(_LEAST_CONNECT_S, min(_CONNECT_S, now_s)))
    if silence_s is None:
        return {"connect_timeout": connect_timeout}
    third_s = max(1, int(silence_s / 3))
    return {
        "connect_timeout": connect_timeout,
        "keepalives_idle": third_s,
        "keepalives_interval": third_s,
        "keepalives_count": 2,
        "tcp_user_timeout": int(silence_s * 1000),
    }


def _needed_formats(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """Return the SET LOCAL statements that psycopg needs to read dates from a server with odd settings.

    They cover a DateStyle other than ISO and a time zone unknown to Python. They are local to a
    transaction, as a pooler may give the session to another client next.
    """
    style = connection.info.parameter_status("DateStyle") or ""
    zone = connection.info.parameter_status("TimeZone") or ""
    return (
        *(() if style.startswith("ISO") else ("SET LOCAL datestyle = ISO",)),
        *(() if _is_known_zone(zone) else ("SET LOCAL timezone = 'UTC'",)),
    )


def _is_known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)  # reads one file, where a list of all zones would read hundreds
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return False
    return True
