"""Which workers and supervisors are alive: one row each, kept fresh by a heartbeat."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, or_, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import supervisors, workers


def register_worker(database: Database, worker_id: str, *, host: str, pid: int, device: str) -> None:
    """Write or replace a worker's row; delete rows of workers silent for a week."""
    with database.transaction() as connection:
        silent = workers.c.heartbeat_at < now(-7 * 86_400)
        connection.execute(delete(workers).where(or_(silent, workers.c.id == worker_id)))
        connection.execute(
            insert(workers).values(
                id=worker_id, host=host, pid=pid, device=device, started_at=now(), heartbeat_at=now()
            )
        )


def beat(
    database: Database, worker_id: str, *, jobs_done: int, jobs_per_second: float | None, trouble: str | None = None
) -> None:
    """Record a worker's heartbeat, its speed and its problem, if any."""
    with database.transaction() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(heartbeat_at=now(), jobs_done=jobs_done, jobs_per_second=jobs_per_second, trouble=trouble)
        )


def unregister_worker(database: Database, worker_id: str) -> None:
    """Record that a worker stopped cleanly."""
    with database.transaction() as connection:
        connection.execute(update(workers).where(workers.c.id == worker_id).values(stopped_at=now()))


def supervisor_beat(database: Database, supervisor_id: str, *, host: str, pid: int, trouble: str | None) -> None:
    """Record a supervisor's heartbeat and its reaper's problem, if any; delete rows silent for a week."""
    row = {"host": host, "pid": pid, "heartbeat_at": now(), "trouble": trouble}
    with database.transaction() as connection:
        known = connection.execute(update(supervisors).where(supervisors.c.id == supervisor_id).values(row))
        if not known.rowcount:
            connection.execute(delete(supervisors).where(supervisors.c.heartbeat_at < now(-7 * 86_400)))
            connection.execute(insert(supervisors).values(id=supervisor_id, started_at=now(), **row))


def supervisor_stopped(database: Database, supervisor_id: str) -> None:
    """Record that a supervisor stopped cleanly."""
    with database.transaction() as connection:
        connection.execute(
            update(supervisors).where(supervisors.c.id == supervisor_id).values(stopped_at=now(), trouble=None)
        )


def troubles(database: Database, *, alive_within_s: float) -> list[str]:
    """Return one sentence for each living supervisor and worker that reports trouble."""
    found = []
    with database.reading() as connection:
        for table in (supervisors, workers):
            query = select(table.c.id, table.c.trouble).where(
                table.c.trouble.is_not(None),
                table.c.stopped_at.is_(None),
                table.c.heartbeat_at > now(-alive_within_s),
            )
            found += [f"{row.id}: {row.trouble}" for row in connection.execute(query.order_by(table.c.id))]
    return found


def supervisor_count(database: Database, *, alive_within_s: float) -> int:
    """Return how many supervisors are alive; without one, jobs of dead workers are not taken back."""
    alive = (supervisors.c.stopped_at.is_(None), supervisors.c.heartbeat_at > now(-alive_within_s))
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(supervisors).where(*alive)) or 0
