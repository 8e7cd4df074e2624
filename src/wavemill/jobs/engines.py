"""Engines for SQLite in WAL mode and for PostgreSQL, each with a limit on how long anything may take to answer."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from wavemill.jobs import outages
from wavemill.jobs.patience import limit_s

_FOR_EVER_S = 86_400.0  # SQLite has no "without limit"
_CONNECT_S = 10.0  # a server that is there lets one in at once; one that is not is asked again
_LEAST_CONNECT_S = 2.0  # libpq's own
_POOL_SIZE, _OVERFLOW = 4, 10  # the heartbeat, the work, the reaper; a retry storm in threads of a producer


def make_engine(url: URL, *, silence_s: float | None) -> Engine:
    """Return an engine that connects when it is first used."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, silence_s)
    return _postgresql(url, silence_s)


def _sqlite(url: URL, silence_s: float | None) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_timeout=_or_ever(silence_s))

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin by itself; see below
        cursor = connection.cursor()
        _switch_to_wal(cursor, within_s=_or_ever(limit_s(silence_s)))
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        # Set by `_switch_to_wal` to another value.
        busy_ms = int(_or_ever(limit_s(silence_s)) * 1000)
        if connection.info.get("busy_ms") != busy_ms:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={busy_ms}")
            connection.info["busy_ms"] = busy_ms
        # A deferred BEGIN that later writes fails at once when another writer was faster; IMMEDIATE waits its turn.
        reads_only = connection.get_execution_options().get("wavemill_reads_only")
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _switch_to_wal(cursor: sqlite3.Cursor, *, within_s: float) -> None:
    # Of processes that open a new file at once, SQLite tells some "database is locked" here without waiting.
    cursor.execute(f"PRAGMA busy_timeout={int(min(within_s, 1.0) * 1000)}")

    @retry(
        retry=retry_if_exception(lambda exc: outages.reason(exc, is_lost=False) is not None),
        wait=wait_random(0.01, 0.1),
        stop=stop_after_delay(within_s),
        reraise=True,
    )
    def switch() -> None:
        cursor.execute("PRAGMA journal_mode=WAL")

    switch()


def _postgresql(url: URL, silence_s: float | None) -> Engine:
    # Prepared statements are off for poolers: in transaction mode each transaction may meet another session, which
    # does not have them. For the same reason nothing is SET but for a transaction. Claims are 3 % slower for it.
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=_POOL_SIZE,
        max_overflow=_OVERFLOW,
        pool_timeout=_or_ever(silence_s),
        connect_args={"prepare_threshold": None, "autocommit": True},
    )

    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        from wavemill.jobs.silence import ListeningConnection  # SQLite needs no psycopg

        connection = ListeningConnection.connect(*arguments, **(_network_options(limit_s(silence_s)) | options))
        connection.silence_s = silence_s
        return connection

    def begin(connection: Connection) -> None:
        # The server ends a transaction whose client has gone without a word: it would keep its locks for two hours.
        # psycopg is in autocommit mode so that this takes no round trip of its own.
        limit = limit_s(silence_s)
        bound = "" if limit is None else f"; SET LOCAL idle_in_transaction_session_timeout = {int(limit * 1000)}"
        connection.exec_driver_sql(f"BEGIN{bound}")

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def _network_options(silence_s: float | None) -> dict[str, Any]:
    """Return libpq's options; what stands in the URL goes before them."""
    if silence_s is None:
        return {"connect_timeout": int(_CONNECT_S)}
    third_s = max(1, int(silence_s / 3))
    return {
        "connect_timeout": int(max(_LEAST_CONNECT_S, min(_CONNECT_S, silence_s))),
        "keepalives_idle": third_s,
        "keepalives_interval": third_s,
        "keepalives_count": 2,
        "tcp_user_timeout": int(silence_s * 1000),
    }


def _or_ever(limit: float | None) -> float:
    return _FOR_EVER_S if limit is None else limit
