"""When a model counts as one that nobody can serve: never because of who came back first after an outage."""

from __future__ import annotations

from sqlalchemy import update

from wavemill.jobs.database import Database, now
from wavemill.jobs.pulse import beat
from wavemill.jobs.refusals import refuse, why_no_worker_can
from wavemill.jobs.schema import pulse, refusals, workers
from wavemill.jobs.workers import register_worker

DIGEST = "d" * 64
ALIVE_S = 60.0


def _worker(database: Database, name: str, *, seen: float = 0.0, refused: float | None = None) -> None:
    """Register a worker that was last seen, and refused the model first, so many seconds from now."""
    register_worker(database, name, host="h", pid=1, device="cpu")
    if refused is not None:
        refuse(database, name, DIGEST, f"{name} lacks it")
    with database.transaction() as connection:
        connection.execute(update(workers).where(workers.c.id == name).values(heartbeat_at=now(seen)))
        connection.execute(update(refusals).where(refusals.c.worker_id == name).values(refused_at=now(refused or 0.0)))


def _steady(database: Database, since: float) -> None:
    beat(database, lease_s=20)
    with database.transaction() as connection:
        connection.execute(update(pulse).values(steady_since=now(since)))


def test_what_workers_refused_that_are_gone_shortens_nobodys_wait(database: Database) -> None:
    _worker(database, "gone", seen=-90.0, refused=-200.0)
    _worker(database, "back", refused=0.0)
    assert why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="back") is None, "one that has it may be starting"
    _worker(database, "back", refused=-61.0)
    assert "back lacks it" in (said := why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="back") or "")
    assert "gone" not in said


def test_who_comes_after_others_have_waited_need_not_wait(database: Database) -> None:
    _worker(database, "waited", refused=-61.0)
    _worker(database, "new", refused=0.0)
    assert "new lacks it" in (why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="new") or "")


def test_after_a_gap_of_the_table_those_who_have_the_model_have_time_to_speak(database: Database) -> None:
    _worker(database, "lacking", refused=-500.0)
    _worker(database, "having", seen=-300.0)  # as long as the table was away
    _steady(database, -10.0)
    assert why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="lacking") is None
    _steady(database, -61.0)
    assert "lacking lacks it" in (why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="lacking") or "")


def test_a_worker_that_the_table_does_not_know_counts_for_itself(database: Database) -> None:
    refuse(database, "unregistered", DIGEST, "lacks it")
    with database.transaction() as connection:
        connection.execute(update(refusals).values(refused_at=now(-61.0)))
    assert "unregistered" in (why_no_worker_can(database, DIGEST, ALIVE_S, asked_by="unregistered") or "")
