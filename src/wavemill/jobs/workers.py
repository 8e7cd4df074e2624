"""Which worker processes live: one row each, kept fresh by a heartbeat."""

from __future__ import annotations

from sqlalchemy import delete, insert, or_, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import workers


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


def beat(database: Database, worker_id: str, *, jobs_done: int, jobs_per_second: float | None) -> None:
    """Say that a worker lives, and how fast it is."""
    with database.transaction() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(heartbeat_at=now(), jobs_done=jobs_done, jobs_per_second=jobs_per_second)
        )


def unregister_worker(database: Database, worker_id: str) -> None:
    """Say that a worker stopped in good order."""
    with database.transaction() as connection:
        connection.execute(update(workers).where(workers.c.id == worker_id).values(stopped_at=now()))
