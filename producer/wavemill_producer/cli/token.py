"""`wavemill token`: makes, lists and revokes the tokens of the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from wavemill_cli.printing import json_option, print_json, print_table, say
from wavemill_producer.web.roles import Role

if TYPE_CHECKING:
    from wavemill.jobs.database import Database

_COLUMNS = ("name", "role", "created_at", "expires_at", "revoked_at")
_A_DAY_S = 86_400.0


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of the HTTP API and the page."""


@contextmanager
def _database() -> Iterator[Database]:
    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import ensure
    from wavemill.settings import Settings

    settings = Settings.from_env()
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    try:
        ensure(database)
        yield database
    finally:
        database.close()


@token.command(epilog="Example: wavemill token create ci --role submit")
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True,
    help="read: look and listen; submit: also queue, control, rate; admin: also delete, manage tokens.",
)  # fmt: skip
@click.option("--days", type=click.IntRange(1, 36_500), help="Days until it expires.  [default: never]")
@json_option
def create(name: str, role: str, days: int | None, as_json: bool) -> None:
    """Make a token named NAME and print it. It is shown only now: the table holds its digest."""
    from wavemill.jobs.tokens import create_token

    with _database() as database:
        made = create_token(database, name, role, valid_s=None if days is None else days * _A_DAY_S)
    if as_json:
        print_json({"name": name, "role": role, "token": made})
        return
    say("keep this token, it cannot be shown again:", err=True)
    say(made)


@token.command("list", epilog="Example: wavemill token list")
@json_option
def list_command(as_json: bool) -> None:
    """List the tokens, without the tokens themselves."""
    from wavemill.jobs.tokens import list_tokens

    with _database() as database:
        rows = [dict(row) for row in list_tokens(database)]
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])


@token.command(epilog="Example: wavemill token revoke ci")
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """End the token NAME; servers refuse it within two seconds."""
    from wavemill.jobs.tokens import revoke_token

    with _database() as database:
        revoke_token(database, name)
    if as_json:
        print_json({"name": name})
    else:
        say(f"revoked token {name}")
