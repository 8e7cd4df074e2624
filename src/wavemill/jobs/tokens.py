"""Bearer tokens of the HTTP API: made, listed, revoked and looked up. Only their SHA-256 is stored.

A token is 256 random bits, so a plain digest is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from wavemill.errors import NotFoundError, UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.management_schema import tokens
from wavemill.text.shown import is_plain_text

_PREFIX = "wm_"  # so that scanners for leaked secrets can find them
_LONGEST_NAME = 100
_MOST = 10_000  # tokens that are alive at once


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The name and the role of a living token."""

    name: str
    role: str


def digest(token: str) -> str:
    """Return what the table holds of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def create_token(database: Database, name: str, role: str, *, valid_s: float | None = None) -> str:
    """Make a token and return it; it cannot be read again later.

    Parameters
    ----------
    valid_s : float, optional
        Seconds until it expires; None: never.
    """
    if not name or len(name) > _LONGEST_NAME or not is_plain_text(name):
        raise UsageError(f"token name {name[:40]!r}: expected 1 to {_LONGEST_NAME} characters on one line")
    token = _PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "role": role, "sha256": digest(token), "created_at": now()}
    try:
        with database.transaction() as connection:
            count = connection.scalar(select(func.count()).select_from(tokens).where(_is_alive())) or 0
            if count >= _MOST:
                raise UsageError(f"there are {_MOST} tokens already: revoke some with `wavemill token revoke NAME`")
            connection.execute(insert(tokens).values(**row, expires_at=None if valid_s is None else now(valid_s)))
    except IntegrityError as exc:
        raise UsageError(f"there is a token named {name!r} already; choose another name") from exc
    return token


def list_tokens(database: Database) -> list[RowMapping]:
    """Return all tokens, oldest first, without their digests."""
    shown = [column for column in tokens.c if column.name != "sha256"]
    with database.reading() as connection:
        return list(connection.execute(select(*shown).order_by(tokens.c.id)).mappings())


def revoke_token(database: Database, name: str) -> None:
    """End a token; NotFoundError if none of that name is alive."""
    with database.transaction() as connection:
        named = update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
        if not is_plain_text(name) or not connection.execute(named.values(revoked_at=now())).rowcount:
            raise NotFoundError(f"there is no token {name!r}; list them with: wavemill token list")


def living_tokens(database: Database) -> tuple[dict[str, Holder], bool]:
    """Return the holder of each living token by its digest, and whether any token was ever made."""
    with database.reading() as connection:
        rows = connection.execute(select(tokens.c.sha256, tokens.c.name, tokens.c.role).where(_is_alive())).all()
        was_made = bool(rows) or connection.scalar(select(tokens.c.id).limit(1)) is not None
    return {row.sha256: Holder(name=row.name, role=row.role) for row in rows}, was_made


def _is_alive() -> Any:
    expired = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now())
    return tokens.c.revoked_at.is_(None) & expired
