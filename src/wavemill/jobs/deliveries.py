"""The table's part of webhooks: which calls are due, and how they went.

Each end of a batch that has a webhook becomes a row of `deliveries`. A row is claimed by raising its
count of attempts; a process that dies during a call leaves the row due again after `_CLAIM_S`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from wavemill.errors import UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.management_schema import deliveries
from wavemill.jobs.schema import batches
from wavemill.text.shown import is_plain_text

_LONGEST_URL = 2_000
_CLAIM_S = 60.0
# Seconds from each failed attempt to the next; after the last, the delivery is given up: two days in all.
PAUSES_S = (10.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A claimed delivery.

    Attributes
    ----------
    attempts : int
        Attempts so far, this one included.
    """

    id: int
    batch_id: str
    finished_at: dt.datetime
    url: str
    attempts: int


def require_webhook(url: str) -> None:
    """Raise UsageError unless `url` can be called when a batch ends."""
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_usable = False
    is_usable = is_usable and len(url) <= _LONGEST_URL and url.isascii() and is_plain_text(url) and " " not in url
    if not is_usable:
        raise UsageError(
            f"webhook {url[:80]!r}: expected an address of up to {_LONGEST_URL} characters that begins with http:// "
            "or https://"
        )


def note_ended(database: Database, *, within_s: float | None = None) -> int:
    """Add a delivery for each end of a batch with a webhook that has none; return how many.

    Parameters
    ----------
    within_s : float, optional
        Look only at batches that ended this many seconds ago or less.
    """
    is_noted = and_(deliveries.c.batch_id == batches.c.id, deliveries.c.finished_at == batches.c.finished_at)
    ended = select(batches.c.id, batches.c.finished_at, now()).where(
        batches.c.webhook_url.is_not(None),
        batches.c.finished_at.is_not(None) if within_s is None else batches.c.finished_at > now(-within_s),
        batches.c.pruned_at.is_(None),
        ~select(deliveries.c.id).where(is_noted).exists(),
    )
    with database.reading() as connection:
        if connection.execute(ended.limit(1)).first() is None:
            return 0
    insert = postgresql.insert if database.is_postgresql else sqlite.insert
    added = insert(deliveries).from_select(["batch_id", "finished_at", "due_at"], ended).on_conflict_do_nothing()
    with database.transaction() as connection:
        return connection.execute(added).rowcount


def claim_due(database: Database, *, limit: int) -> list[Delivery]:
    """Claim up to `limit` due deliveries for this process; give up those of batches that were queued again since."""
    due = (
        select(deliveries, batches.c.webhook_url, batches.c.finished_at.label("batch_finished_at"))
        .join(batches)
        .where(deliveries.c.due_at <= now(), batches.c.webhook_url.is_not(None))
        .order_by(deliveries.c.due_at)
        .limit(limit)
    )
    with database.reading() as connection:
        found = connection.execute(due).all()
    return [_delivery(row) for row in found if _claim(database, row)]


def _claim(database: Database, row: Row[Any]) -> bool:
    is_old = row.finished_at != row.batch_finished_at
    values: dict[str, Any]
    if is_old:  # the status that the call would have is that of a batch that goes on
        values = {"due_at": None, "error": "the batch was queued again before this call"}
    else:
        values = {"attempts": row.attempts + 1, "due_at": now(_CLAIM_S)}
    unclaimed = update(deliveries).where(deliveries.c.id == row.id, deliveries.c.attempts == row.attempts)
    with database.transaction() as connection:
        return bool(connection.execute(unclaimed.values(values)).rowcount) and not is_old


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        batch_id=row.batch_id,
        finished_at=row.finished_at,
        url=row.webhook_url,
        attempts=row.attempts + 1,
    )


def settle(database: Database, delivery: Delivery, error: str | None) -> None:
    """Record how a claimed delivery went; after an `error` it is due again, or given up."""
    values: dict[str, Any]
    if error is None:
        values = {"delivered_at": now(), "due_at": None, "error": None}
    else:
        pause_s = PAUSES_S[delivery.attempts - 1] if delivery.attempts <= len(PAUSES_S) else None
        values = {"due_at": None if pause_s is None else now(pause_s), "error": error}
    mine = update(deliveries).where(deliveries.c.id == delivery.id, deliveries.c.attempts == delivery.attempts)
    with database.transaction() as connection:
        connection.execute(mine.values(values))


def deliveries_of(database: Database, batch_id: str) -> list[dict[str, Any]]:
    """Return the deliveries of a batch, oldest first, without its webhook's address, which may hold a secret."""
    columns = [column for column in deliveries.c if column.name != "batch_id"]
    query = select(*columns).where(deliveries.c.batch_id == batch_id).order_by(deliveries.c.id)
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
