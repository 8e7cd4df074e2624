"""Which errors are outages, one row each."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from wavemill.jobs import outages

_OUTAGES = """
    08000 08001 08003 08004 08006 08P01 25006 25P03 25P04 26000 28000 28P01 40001 40003 40P01 42P05 53000 53100 53200
    53300 53400 55000 55P03 57000 57014 57P01 57P02 57P03 57P05 58000 58030 58P01 72000 XX001 XX002
"""
_MISTAKES = """
    0A000 21000 22001 22003 22021 22P02 23502 23503 23505 25001 25P02 2BP01 34000 3F000 42501 42601 42703 42804 42883
    42P01 42P02 54000 54001 54023 55006 P0001 XX000
"""


class _RefusedError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("sqlstate", _OUTAGES.split())
def test_what_passes_by_itself_or_is_no_jobs_fault_is_an_outage(sqlstate: str) -> None:
    assert outages.reason(_RefusedError(sqlstate), is_lost=False)


@pytest.mark.parametrize("sqlstate", _MISTAKES.split())
def test_what_waiting_does_not_mend_is_none(sqlstate: str) -> None:
    assert outages.reason(_RefusedError(sqlstate), is_lost=False) is None


@pytest.mark.parametrize("sqlstate", ["XX000", "22021"])
def test_whatever_a_server_says_when_the_connection_ends_is_an_outage(sqlstate: str) -> None:
    assert outages.reason(_RefusedError(sqlstate), is_lost=True) == outages.LOST


@pytest.mark.parametrize(
    ("error", "is_lost", "is_outage"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True, True),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), True, True),
        (psycopg.InterfaceError("the connection is closed"), True, True),
        (psycopg.OperationalError("number of parameters must be between 0 and 65535"), False, False),
        (psycopg.ProgrammingError('invalid connection option "hots"'), True, False),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), False, False),
        (psycopg.errors.AdminShutdown("terminating connection"), False, True),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"), False, True),
        (psycopg.errors.UndefinedColumn('column "x" does not exist'), False, False),
    ],
)
def test_without_a_sqlstate_a_lost_connection_decides(error: Exception, is_lost: bool, is_outage: bool) -> None:
    assert (outages.reason(error, is_lost=is_lost) is not None) == is_outage


@pytest.mark.parametrize(
    ("code", "is_outage"),
    [
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_INTERNAL, False),
        (sqlite3.SQLITE_PERM, True),
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_NOMEM, True),
        (sqlite3.SQLITE_READONLY, True),
        (sqlite3.SQLITE_READONLY_DBMOVED, True),
        (sqlite3.SQLITE_INTERRUPT, True),
        (sqlite3.SQLITE_IOERR, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_PROTOCOL, True),
        (sqlite3.SQLITE_SCHEMA, True),
        (sqlite3.SQLITE_TOOBIG, False),
        (sqlite3.SQLITE_CONSTRAINT, False),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False),
        (sqlite3.SQLITE_MISMATCH, False),
        (sqlite3.SQLITE_MISUSE, False),
        (sqlite3.SQLITE_AUTH, False),
        (sqlite3.SQLITE_RANGE, False),
        (sqlite3.SQLITE_NOTADB, True),
    ],
)
def test_sqlites_result_code_decides(code: int, is_outage: bool) -> None:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    assert (outages.reason(error, is_lost=False) is not None) == is_outage


def test_a_mistake_in_a_statement_is_no_outage_of_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT nothing FROM nowhere")
    connection.close()
    assert outages.reason(caught.value, is_lost=False) is None
