"""The pulse of the table: since when it has answered without a gap, and whose turn it is to sweep.

While the table is away nobody can renew a lease. A reaper that then came first would take jobs from workers that live.
So every supervisor writes its pulse here, and a lease that ended counts only where the table has answered for a
lease's time since the last gap: the owners had time to speak. Turns are taken here too, by the same clock as leases.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, insert, or_, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import batches, chunks, jobs, pulse, refusals, supervisors, workers
from wavemill.jobs.states import State

BEATS_PER_LEASE = 8
_CLOCK_SLACK_S = 1.0  # a clock that is put right by less is no step
_LONGEST_DELAY_S = 600.0  # of any retry


def beat(database: Database, *, lease_s: float) -> None:
    """Say that the table answers; notice a gap, and a clock that was put back."""
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
    """Bring times that now lie far ahead back to what they can be: the clock was put back."""
    connection.execute(
        update(jobs)
        .where(jobs.c.state == State.RUNNING, jobs.c.lease_until > now(_LONGEST_DELAY_S))
        .values(lease_until=now(lease_s))
    )
    connection.execute(update(chunks).where(chunks.c.available_at > now(_LONGEST_DELAY_S)).values(available_at=now()))
    connection.execute(update(chunks).where(chunks.c.published_at > now()).values(published_at=now()))
    # Whom a turn, a rate or a sign of life of the time to come would favour, or hurt, until that time has come.
    _mend_batches(connection, batches.c.turn_at > now(), turn_at=now())
    _mend_batches(connection, batches.c.torn_at > now(), torn_at=now())
    _mend_batches(connection, or_(batches.c.mark_at > now(), batches.c.newer_mark_at > now()), mark_at=None)
    for time in (workers.c.heartbeat_at, supervisors.c.heartbeat_at, refusals.c.refused_at):
        connection.execute(update(time.table).where(time > now()).values({time.name: now()}))


def _mend_batches(connection: Connection, is_late: ColumnElement[bool], **values: Any) -> None:
    # Locked in the order in which others move counters.
    late = select(batches.c.id).where(is_late, batches.c.finished_at.is_(None)).order_by(batches.c.id).with_for_update()
    connection.execute(update(batches).where(batches.c.id.in_(late)).values(values))


def is_steady(lease_s: float) -> ColumnElement[bool]:
    """Return the condition that the table has answered, without a gap, for a lease's time until just now.

    It holds, too, where no supervisor has ever beaten: then nobody knows of a gap.
    """
    gap = or_(pulse.c.beat_at <= now(-lease_s / 2), pulse.c.steady_since >= now(-lease_s))
    return ~select(pulse.c.id).where(gap).exists()


def is_my_turn(database: Database, *, period_s: float) -> bool:
    """Whether nobody else has swept within `period_s`; whoever got the turn may die, and the next is near."""
    due = or_(pulse.c.swept_at.is_(None), pulse.c.swept_at < now(-period_s), pulse.c.swept_at > now(_CLOCK_SLACK_S))
    with database.reading() as connection:
        if connection.scalar(select(func.count()).select_from(pulse).where(~due)):
            return False
    with database.transaction() as connection:
        return bool(connection.execute(update(pulse).where(due).values(swept_at=now())).rowcount)
