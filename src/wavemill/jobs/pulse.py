"""The `pulse` row: since when the database has answered without a gap, and when the last sweep began.

During an outage no worker can renew its lease, so the first reaper afterwards would take jobs from
living workers. Therefore every supervisor writes a heartbeat here, and an expired lease counts only
once the database has answered for a full lease time since the last gap. The row also lets supervisors
take turns at sweeping, by the database clock that leases use.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, insert, or_, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import batches, chunks, jobs, pulse, refusals, supervisors, workers
from wavemill.jobs.states import State

BEATS_PER_LEASE = 8
_CLOCK_SLACK_S = 1.0  # smaller clock corrections do not count as steps
_LONGEST_DELAY_S = 600.0  # of any retry


def beat(database: Database, *, lease_s: float) -> None:
    """Record that the database answers; detect gaps, and repair times after a clock was set back."""
    with database.transaction() as connection:
        row = connection.execute(select(pulse, _has_stepped_back().label("stepped_back"))).one_or_none()
        if row is None:
            _insert(connection)
            return
        if row.stepped_back:
            _shorten(connection, lease_s)
        gap = or_(pulse.c.beat_at < now(-lease_s / 2), pulse.c.beat_at > now(_CLOCK_SLACK_S))
        connection.execute(
            update(pulse).values(beat_at=now(), steady_since=case((gap, now()), else_=pulse.c.steady_since))
        )


def _insert(connection: Connection) -> None:
    first = select(1, now(), now()).where(~select(pulse.c.id).exists())
    connection.execute(insert(pulse).from_select(["id", "beat_at", "steady_since"], first))


def _has_stepped_back() -> ColumnElement[bool]:
    return pulse.c.beat_at > now(_CLOCK_SLACK_S)


def _shorten(connection: Connection, lease_s: float) -> None:
    """After the clock was set back, bring times that now lie too far in the future back into range."""
    connection.execute(
        update(jobs)
        .where(jobs.c.state == State.RUNNING, jobs.c.lease_until > now(_LONGEST_DELAY_S))
        .values(lease_until=now(lease_s))
    )
    connection.execute(update(chunks).where(chunks.c.available_at > now(_LONGEST_DELAY_S)).values(available_at=now()))
    connection.execute(update(chunks).where(chunks.c.published_at > now()).values(published_at=now()))
    # Turns, rates and heartbeats in the future would favour or hurt their owners until then.
    _mend_batches(connection, batches.c.turn_at > now(), turn_at=now())
    _mend_batches(connection, batches.c.torn_at > now(), torn_at=now())
    _mend_batches(connection, or_(batches.c.mark_at > now(), batches.c.newer_mark_at > now()), mark_at=None)
    for time in (workers.c.heartbeat_at, supervisors.c.heartbeat_at, refusals.c.refused_at):
        connection.execute(update(time.table).where(time > now()).values({time.name: now()}))


def _mend_batches(connection: Connection, is_late: ColumnElement[bool], **values: Any) -> None:
    # Lock in the same order as the transactions that update counters, to avoid deadlocks.
    late = select(batches.c.id).where(is_late, batches.c.finished_at.is_(None)).order_by(batches.c.id).with_for_update()
    connection.execute(update(batches).where(batches.c.id.in_(late)).values(values))


def is_steady(lease_s: float) -> ColumnElement[bool]:
    """Return the condition that the database has answered without a gap for the last `lease_s` seconds.

    It also holds where no supervisor has ever written a heartbeat: then no gap is known.
    """
    gap = or_(pulse.c.beat_at <= now(-lease_s / 2), pulse.c.steady_since >= now(-lease_s))
    return ~select(pulse.c.id).where(gap).exists()


def is_my_turn(database: Database, *, period_s: float) -> bool:
    """Take the turn to sweep, unless a supervisor took it within `period_s` seconds; return whether taken."""
    due = or_(pulse.c.swept_at.is_(None), pulse.c.swept_at < now(-period_s), pulse.c.swept_at > now(_CLOCK_SLACK_S))
    with database.reading() as connection:
        if connection.scalar(select(func.count()).select_from(pulse).where(~due)):
            return False
    with database.transaction() as connection:
        return bool(connection.execute(update(pulse).where(due).values(swept_at=now())).rowcount)
