"""`wavemill db`."""

from __future__ import annotations

import click

from wavemill_cli.printing import json_option, print_json, say


@click.group()
def db() -> None:
    """Upgrade the tables, or show their revision."""


@db.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Create or upgrade the tables. Safe to repeat, and to run twice at the same time.

    Example: wavemill db upgrade
    """
    from wavemill.jobs import migrate
    from wavemill.jobs.database import Database
    from wavemill.settings import Settings

    database = Database(Settings.from_env().sqlalchemy_url)
    revision = migrate.upgrade(database)
    if as_json:
        print_json({"database": database.name, "revision": revision})
    else:
        say(f"{database.name} is at revision {revision}")


@db.command()
@json_option
def current(as_json: bool) -> None:
    """Show the tables' revision and the revision that this version of wavemill needs.

    Example: wavemill db current
    """
    from wavemill.jobs import migrate
    from wavemill.jobs.database import Database
    from wavemill.settings import Settings

    settings = Settings.from_env()
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    revision, needed = migrate.current(database), migrate.NEWEST
    if as_json:
        print_json({"database": database.name, "revision": revision, "needed": needed})
    else:
        say(f"{database.name} is at revision {revision or 'none'}; this version needs {needed}")
