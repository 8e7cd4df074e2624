"""The SQLAlchemy engine for SQLite in WAL mode: a writer waits up to `silence_s` seconds for another."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from wavemill.jobs import outages
from wavemill.jobs.patience import day_if_none, limit_s

_SWITCH_BUSY_S = 1.0  # short, so that retries do not double the limit
_TABLES = """
    SELECT count(*), coalesce(max(type = 'table' AND name = 'batches' AND sql LIKE '%chunk_size%'), 0)
    FROM sqlite_master
"""


def sqlite_engine(url: URL, *, silence_s: float | None) -> Engine:
    """Return an engine that connects when it is first used; make the file's folder."""
    assert url.database is not None  # by `wavemill.server_urls`
    Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, pool_timeout=day_if_none(silence_s))

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin by itself; see `begin`
        cursor = connection.cursor()
        if _may_be_changed(cursor):
            _switch_to_wal(cursor, within_s=day_if_none(limit_s(silence_s)))
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        busy_ms = int(day_if_none(limit_s(silence_s)) * 1000)
        if connection.info.get("busy_ms") != busy_ms:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={busy_ms}")
            connection.info["busy_ms"] = busy_ms
        # A deferred BEGIN fails at once when it writes after another writer; IMMEDIATE waits.
        reads_only = connection.get_execution_options().get("wavemill_reads_only")
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _may_be_changed(cursor: sqlite3.Cursor) -> bool:
    """Whether the file is new or ours: WAL mode persists in the file, so leave another program's alone."""
    n_tables, is_ours = cursor.execute(_TABLES).fetchone()
    return not n_tables or bool(is_ours)


def _switch_to_wal(cursor: sqlite3.Cursor, *, within_s: float) -> None:
    # When several processes open a new file at once, some get "database is locked" here without a wait.
    cursor.execute(f"PRAGMA busy_timeout={int(min(within_s, _SWITCH_BUSY_S) * 1000)}")

    @retry(
        retry=retry_if_exception(lambda exc: outages.reason(exc, is_lost=False) is not None),
        wait=wait_random(0.01, 0.1),
        stop=stop_after_delay(within_s),
        reraise=True,
    )
    def switch() -> None:
        cursor.execute("PRAGMA journal_mode=WAL")

    switch()
