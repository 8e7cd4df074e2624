"""Bringing the table to the schema of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database

_LOCK_KEY = 0x776D_696C  # any constant: two migrations of one PostgreSQL database wait for each other


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def upgrade(database: Database) -> str:
    """Create or upgrade the tables; return the revision. Safe to run from several processes at once."""
    config = _config()
    with database.transaction() as connection:
        if database.is_postgresql:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest()


def current(database: Database) -> str | None:
    """Return the revision of the tables, None where there are none."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """Return the revision that this version of wavemill works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # migrations ship in the package
    return head


def ensure(database: Database) -> None:
    """Create the tables of a new SQLite file; a PostgreSQL database is only checked, its owner upgrades it."""
    revision = current(database)
    if revision == newest():
        return
    if revision is None and not database.is_postgresql:
        upgrade(database)
        return
    raise DatabaseUnavailableError(
        f"the tables in {database.name} are at revision {revision}, this version needs {newest()}: "
        "run `wavemill db upgrade`"
    )
