"""Upgrades the tables to the schema of this version.

Only `upgrade` imports Alembic: every command compares revisions, and the import would cost it a
tenth of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from wavemill.errors import TableRevisionError
from wavemill.jobs.database import Database
from wavemill.jobs.patience import answers_within
from wavemill.jobs.readiness import NEWEST, current, require_may_upgrade, require_rights

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["NEWEST", "config", "current", "ensure", "upgrade"]

_LOCK_KEY = 0x776D_696C  # any constant: two migrations of one PostgreSQL database wait for each other


def config() -> Config:
    """Return Alembic's configuration; the caller must set `attributes["connection"]`."""
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return configuration


def upgrade(database: Database) -> str:
    """Create or upgrade the tables; return the revision. Safe to run from several processes at once."""
    from alembic import command

    revision = current(database)
    if revision is not None and revision > NEWEST:
        raise _other_revision(database, revision)
    require_may_upgrade(database, revision)
    configuration = config()
    # No limit: rewriting a large table takes long, and so does waiting for another upgrade.
    with answers_within(None), database.transaction() as connection:
        if database.is_postgresql:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, NEWEST)
    return NEWEST


def ensure(database: Database, *, to_write: bool = False) -> None:
    """Create the tables of a new SQLite file; only check PostgreSQL, which its owner upgrades.

    Parameters
    ----------
    to_write : bool
        Whether the caller will write: then its rights to write are checked, too.
    """
    revision = current(database)
    if revision is None and not database.is_postgresql:
        upgrade(database)
    elif revision != NEWEST:
        raise _other_revision(database, revision)
    if to_write:
        require_rights(database)


def _other_revision(database: Database, revision: str | None) -> TableRevisionError:
    advice = "update wavemill here" if revision and revision > NEWEST else "run `wavemill db upgrade`"
    return TableRevisionError(
        f"the tables in {database.name} are at revision {revision or 'none'}, this version needs {NEWEST}: {advice}"
    )
