"""A connection to PostgreSQL that notices a server that has fallen silent.

Keepalives and `tcp_user_timeout` notice a host that is gone. They notice nothing where something between still
acknowledges what we send: a load balancer, a proxy, a server whose process is stopped. So psycopg's waiting is watched.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, NoReturn, Self, TypeVar
from zoneinfo import available_timezones

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen

from wavemill.jobs.patience import limit_s

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SIGN_OF_LIFE, _LEAST_SIGN_S = 0.25, 2.0  # a machine under load gives one within seconds, not tenths

_CONNECT_S = 10.0  # a server that is there lets us in at once
_LEAST_CONNECT_S = 2.0  # libpq's own
_SESSION = """
    SELECT pg_backend_pid(), extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)
"""
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the server's default is


class ListeningConnection(psycopg.Connection[Any]):
    """Raises OperationalError, and closes itself, when the server has said nothing for `silence_s`; None: never.

    What a connection is asked first when it comes from the pool, a server answers at once. So that waits for a quarter
    of it: a heartbeat over a dead connection must find another before its lease ends.
    """

    silence_s: float | None = None
    rests_since: float | None = None  # in the pool, or just taken from it
    is_pooled = False  # by a pooler before the server
    _server_idle_s = 0.0
    _formats: tuple[str, ...] = ()  # statements that make this session's dates readable

    @classmethod
    def open(cls, *arguments: Any, silence_s: float | None, **options: Any) -> Self:
        """Connect in autocommit mode; what stands in `options` goes before what silence asks for.

        Text is UTF-8 whatever the server, the role or `PGCLIENTENCODING` would have: psycopg could not send all names,
        or would return bytes.
        """
        options = {**_network_options(silence_s), **options, "client_encoding": "utf8"}
        connection = cls.connect(*arguments, autocommit=True, **options)
        connection.silence_s = silence_s
        try:
            pid, server_idle_s = connection.execute(_SESSION).fetchone() or (0, 0)
        except BaseException:
            connection.close()
            raise
        # A pooler gives its clients a process ID of its own.
        connection.is_pooled = pid != connection.info.backend_pid
        connection._server_idle_s = float(server_idle_s)
        connection._formats = _needed_formats(connection)
        return connection

    def begin(self, *, locks: bool) -> None:
        """Begin a transaction, in one message; one that locks is ended by the server when we go without a word."""
        statements = [_BEGIN, *self._formats, *(self.idle_limit() if locks else ())]
        with self.lock:
            self.pgconn.send_query("; ".join(statements).encode())
            for result in self.wait(generators.execute(self.pgconn)):
                if result.status != pq.ExecStatus.COMMAND_OK:
                    raise psycopg.errors.error_from_result(result)
        self.rests_since = None

    def idle_limit(self, at_most_s: float | None = None) -> list[str]:
        """Return what lets the server end this transaction when we have gone without a word; `silence_s` by default.

        Otherwise it would keep its locks for the two hours of TCP's own keepalives. Only for the transaction, since
        another client may have the session next. A limit of the server's own that is shorter stands.
        """
        limit = limit_s(self.silence_s) if at_most_s is None else at_most_s
        if limit is None or 0 < self._server_idle_s <= limit:
            return []
        return [f"SET LOCAL idle_in_transaction_session_timeout = {int(limit * 1000)}"]

    def wait(self, gen: PQGen[T], *arguments: Any, **keywords: Any) -> T:
        """Consume a generator of psycopg's, as long as something comes now and then."""
        limit = limit_s(self.silence_s)
        if limit is not None and self.rests_since is not None:
            limit = min(limit, max(limit * _SIGN_OF_LIFE, _LEAST_SIGN_S))
        return super().wait(gen if limit is None else self._listening(gen, limit), *arguments, **keywords)

    def _listening(self, gen: PQGen[T], limit: float) -> PQGen[T]:
        """Pass on what psycopg's generator and its waiting say to each other, and look at the clock.

        The waiting looks up every tenth of a second, and says READY_NONE (0) when the socket has nothing.
        """
        silent_since: float | None = None
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    silent_since = None
                elif silent_since is None:  # no clock before: most answers come at once
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
        logger.warning("the database server has said nothing for %g s; giving the connection up", limit)
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
    """Return what lets psycopg read dates where the server or the role has another DateStyle, or a zone of its own.

    Only for a transaction, since another client of a pooler's may have the session next.
    """
    style = connection.info.parameter_status("DateStyle") or ""
    zone = connection.info.parameter_status("TimeZone") or ""
    return (
        *(() if style.startswith("ISO") else ("SET LOCAL datestyle = ISO",)),
        *(() if zone in available_timezones() else ("SET LOCAL timezone = 'UTC'",)),
    )
