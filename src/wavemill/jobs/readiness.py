"""Checks made before the first write: the database holds our tables, and this user has the needed rights.

This module only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, String, bindparam, inspect, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from wavemill.errors import DatabaseUnavailableError, DatabaseUnusableError
from wavemill.jobs.database import Database, first_line
from wavemill.jobs.management_schema import all_tables
from wavemill.jobs.schema import batches, jobs

NEWEST = "0007"  # revision that this version of wavemill works with

_REVISIONS = frozenset(f"{number:04}" for number in range(1, int(NEWEST) + 1))
_VERSIONS = "alembic_version"  # Alembic's own table; every program that uses Alembic has one of this name
_MAY_NOT = "42501"
_LACKS = {"42703", "42P01"}  # a column, a table
_SQLITE_ERROR = 1  # SQLite's code for a missing column or table, and for other errors in a statement
# Columns in every revision of our tables, and hardly in another program's.
_OURS = (batches.c.operation, batches.c.chunk_size, jobs.c.batch_id, jobs.c.seq, jobs.c.spectrogram_id)
_LACKED_RIGHTS = text("""
    SELECT wanted.name FROM unnest(:names) AS wanted(name)
    WHERE NOT (has_table_privilege(wanted.name, 'SELECT') AND has_table_privilege(wanted.name, 'INSERT')
           AND has_table_privilege(wanted.name, 'UPDATE') AND has_table_privilege(wanted.name, 'DELETE'))
       OR wanted.name = ANY(:numbered)
      AND NOT has_sequence_privilege(pg_get_serial_sequence(wanted.name, 'id'), 'USAGE')
""").bindparams(bindparam("names", type_=ARRAY(String)), bindparam("numbered", type_=ARRAY(String)))
_MAY_CREATE = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
_MAY_ALTER = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = CAST('batches' AS regclass)")


def current(database: Database) -> str | None:
    """Return the revision of our tables; None where there are none.

    Raises
    ------
    DatabaseUnusableError
        The database is another program's, or we may not read it.
    """
    try:
        with database.reading() as connection:
            return _revision(connection, database)
    except DBAPIError as exc:
        code = getattr(exc.orig, "sqlstate", None)
        if code == _MAY_NOT:
            raise DatabaseUnusableError(
                f"the database {database.name} does not let this user read the tables ({first_line(exc.orig)}); have "
                "their owner GRANT SELECT, INSERT, UPDATE, DELETE on them, or name another user in "
                "WAVEMILL_DATABASE_URL"
            ) from exc
        if code in _LACKS or getattr(exc.orig, "sqlite_errorcode", None) == _SQLITE_ERROR:
            raise _foreign(database, first_line(exc.orig)) from exc
        raise


def require_rights(database: Database, *, on_primary: bool = False) -> None:
    """Raise DatabaseUnusableError unless this user may write into every table.

    With `on_primary`, also raise DatabaseUnavailableError while the server is read-only, as a
    standby is until it is promoted.
    """
    if not database.is_postgresql:
        return
    names = list(all_tables.tables)
    numbered = [name for name, table in all_tables.tables.items() if table.autoincrement_column is not None]
    with database.reading() as connection:
        if on_primary:
            _require_primary(connection, database)
        lacked = connection.scalars(_LACKED_RIGHTS, {"names": names, "numbered": numbered}).all()
    if lacked:
        raise DatabaseUnusableError(
            f"the database {database.name} does not let this user write into {', '.join(lacked)}; have their owner "
            "GRANT SELECT, INSERT, UPDATE, DELETE on them and USAGE on their sequences, or name another user in "
            "WAVEMILL_DATABASE_URL"
        )


def require_may_upgrade(database: Database, revision: str | None) -> None:
    """Raise DatabaseUnusableError unless this user has the rights to upgrade the tables from `revision`."""
    if not database.is_postgresql or revision == NEWEST:
        return
    with database.reading() as connection:
        if revision is not None and not connection.scalar(_MAY_ALTER):
            raise DatabaseUnusableError(
                f"only the owner of the tables in {database.name} may upgrade them: name that user in "
                "WAVEMILL_DATABASE_URL for `wavemill db upgrade`"
            )
        if not connection.scalar(_MAY_CREATE):
            schema = connection.scalar(text("SELECT current_schema()"))
            raise DatabaseUnusableError(
                f"the database {database.name} does not let this user create tables in the schema {schema}: GRANT "
                f"CREATE ON SCHEMA {schema} to it, or name another user in WAVEMILL_DATABASE_URL for `wavemill db "
                "upgrade`"
            )


def _revision(connection: Connection, database: Database) -> str | None:
    if database.is_postgresql and connection.scalar(text("SELECT current_schema()")) is None:
        raise DatabaseUnusableError(
            f"the database {database.name} has no schema for this user's tables: no schema in its search_path "
            "exists and may be used; ALTER ROLE ... SET search_path = public, or name another user in "
            "WAVEMILL_DATABASE_URL"
        )
    names = set(inspect(connection).get_table_names())
    found: Sequence[Any] = ()
    if _VERSIONS in names:
        found = connection.scalars(text(f"SELECT version_num FROM {_VERSIONS}")).all()  # noqa: S608  a constant
    if not found:
        names |= set(inspect(connection).get_view_names())
        if taken := names & all_tables.tables.keys():
            raise _foreign(database, f"it has {', '.join(sorted(taken))}, but not in any revision of wavemill's")
        return None
    revision = str(found[0])
    if len(found) > 1 or (revision not in _REVISIONS and not {"batches", "jobs"} <= names):
        raise _foreign(database, f"its tables are at revision {', '.join(sorted(map(str, found)))}")
    connection.execute(select(*_OURS).where(jobs.c.batch_id == batches.c.id).limit(0))
    return revision


def _require_primary(connection: Connection, database: Database) -> None:
    if connection.scalar(text("SELECT current_setting('transaction_read_only')")) == "on":
        raise DatabaseUnavailableError(
            f"the database {database.name} is read-only, as a standby is: name the primary in "
            "WAVEMILL_DATABASE_URL, or ALTER ROLE ... SET default_transaction_read_only = off; nothing was changed"
        )


def _foreign(database: Database, why: str) -> DatabaseUnusableError:
    return DatabaseUnusableError(
        f"the database {database.name} belongs to another program ({why}): name a database or a schema for wavemill "
        "alone in WAVEMILL_DATABASE_URL"
    )
