"""Tells which database errors are outages, after which wavemill waits and tries again.

All others are mistakes: a missing column, a value that does not fit, a missing right. Waiting does
not fix them, so they are raised unchanged and cost the job an attempt. An error that is not listed
here is not an outage.
"""

from __future__ import annotations

from typing import Any

LOST = "does not answer"

# SQLSTATE, or its first two characters -> what the database did. Error sentences add its message.
_POSTGRESQL = {
    "08": "lost the connection",  # poolers also use 08P01 for all of their own errors
    # After a failover the old primary, or a standby of that name, says this until it is promoted.
    "25006": "is read-only, as a standby is",
    "25P03": "ended a session that was silent inside a transaction",
    "25P04": "ended a transaction that took too long",
    "26000": "lost a prepared statement, as a pooler does",
    "42P05": "has a prepared statement already, as a pooler does",
    "28": "does not let us in",  # passwords are changed, pg_hba.conf is reloaded; when connecting there is no SQLSTATE
    "40": "undid a transaction that conflicted with another",  # serialization failure, deadlock
    "53": "has no room left",  # on the disk, in memory, for connections: 53100, 53200, 53300
    "55000": "cannot do that now, as a standby cannot",  # the statement needs a primary that has finished its recovery
    "55P03": "did not get a lock in time",
    "57": "was stopped, or stopped a statement",  # shutdown, crash, start, pg_cancel_backend, statement_timeout
    "58": "has trouble with its own files",  # an I/O error, a file system that is gone
    "72000": "no longer has an old snapshot",
    # Damaged: no job caused this, so none may lose an attempt until somebody restores the database.
    "XX001": "is damaged",
    "XX002": "has a damaged index",
}

# Primary result code -> the same. SQLITE_ERROR (1: a mistake in a statement), SQLITE_CONSTRAINT, _MISMATCH, _TOOBIG,
# _MISUSE, _RANGE and the like are mistakes.
_SQLITE = {
    3: "may not be opened",  # PERM
    5: "is locked by somebody else",  # BUSY
    6: "is locked by ourselves",  # LOCKED
    7: "has no memory left",  # NOMEM
    8: "is read-only",  # READONLY: its file system was mounted so, or the file was replaced
    9: "was interrupted",  # INTERRUPT
    10: "cannot be read or written",  # IOERR
    11: "is damaged",  # CORRUPT: as XX001 above
    13: "has no room left",  # FULL
    14: "cannot be opened",  # CANTOPEN
    15: "is locked by somebody else",  # PROTOCOL: the locks of the WAL, after many tries
    17: "changed its tables meanwhile",  # SCHEMA
    26: "is damaged",  # NOTADB
}


def reason(error: BaseException, *, is_lost: bool) -> str | None:
    """Return what the database did that raised this error; None if it is no outage.

    Parameters
    ----------
    error : exception
        As the driver raised it.
    is_lost : bool
        Whether the connection is gone, or was never made.
    """
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        known = _POSTGRESQL.get(sqlstate) or _POSTGRESQL.get(sqlstate[:2])
        return known or (LOST if is_lost else None)
    code: Any = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF)
    # Raised by the client. It also raises these for mistakes, such as too many parameters, but then
    # the connection stays open.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return LOST if is_lost and kinds & {"OperationalError", "InterfaceError"} else None
