"""Which workers and supervisors live: one row each, kept fresh by a heartbeat."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, or_, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import supervisors, workers


def register_worker(database: Database, worker_id: str, *, host: str, pid: int, device: str) -> None:
    """Write a worker's row, also when it is there already; rows of workers silent for a week go."""
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
    """Say that a worker lives, how fast it is, and what is wrong with it."""
    with database.transaction() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(heartbeat_at=now(), jobs_done=jobs_done, jobs_per_second=jobs_per_second, trouble=trouble)
        )


def unregister_worker(database: Database, worker_id: str) -> None:
    """Say that a worker stopped in good order."""
    with database.transaction() as connection:
        connection.execute(update(workers).where(workers.c.id == worker_id).values(stopped_at=now()))


def supervisor_beat(database: Database, supervisor_id: str, *, host: str, pid: int, trouble: str | None) -> None:
    """Say that a supervisor lives, and what is wrong with its reaper; rows of those silent for a week go."""
    row = {"host": host, "pid": pid, "heartbeat_at": now(), "trouble": trouble}
    with database.transaction() as connection:
        known = connection.execute(update(supervisors).where(supervisors.c.id == supervisor_id).values(row))
        if not known.rowcount:
            connection.execute(delete(supervisors).where(supervisors.c.heartbeat_at < now(-7 * 86_400)))
            connection.execute(insert(supervisors).values(id=supervisor_id, started_at=now(), **row))


def supervisor_stopped(database: Database, supervisor_id: str) -> None:
    """Say that a supervisor stopped in good order."""
    with database.transaction() as connection:
        connection.execute(
            update(supervisors).where(supervisors.c.id == supervisor_id).values(stopped_at=now(), trouble=None)
        )


def troubles(database: Database, *, alive_within_s: float) -> list[str]:
    """Return a sentence on each supervisor and worker that lives and says that something is wrong with it."""
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
    """Return how many supervisors live: without one, nobody takes jobs back from dead workers."""
    alive = (supervisors.c.stopped_at.is_(None), supervisors.c.heartbeat_at > now(-alive_within_s))
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(supervisors).where(*alive)) or 0
