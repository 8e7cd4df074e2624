"""Record which workers refuse which models, and find models that no worker can serve.

A worker that lacks a batch's model leaves the jobs to other workers and records a refusal. The jobs
fail only after a while in which no other worker was seen: one with the model may be (re)starting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.pulse import is_steady
from wavemill.jobs.schema import batches, refusals, workers

_FORGOTTEN_S = 3_600.0  # after a worker's last heartbeat
_MOST_NAMED = 10  # workers in one sentence, which is stored in each job's row


def refuse(database: Database, worker_id: str, model_digest: str, reason: str) -> None:
    """Record that a worker cannot serve a model, and why; a repeat keeps the time of the first refusal."""
    this = (refusals.c.worker_id == worker_id, refusals.c.model_digest == model_digest)
    with database.transaction() as connection:
        if connection.execute(update(refusals).where(*this).values(reason=reason)).rowcount:
            return
        values = {"worker_id": worker_id, "model_digest": model_digest, "reason": reason, "refused_at": now()}
        connection.execute(insert(refusals).values(values))


def withdraw(database: Database, worker_id: str, model_digest: str) -> None:
    """Delete a worker's refusal of a model: it can serve the model after all."""
    this = (refusals.c.worker_id == worker_id, refusals.c.model_digest == model_digest)
    with database.transaction() as connection:
        connection.execute(delete(refusals).where(*this))


def why_no_worker_can(database: Database, model_digest: str, alive_within_s: float, *, asked_by: str) -> str | None:
    """Return a sentence that names the living workers and why each refuses a model; None while one may serve it.

    Parameters
    ----------
    alive_within_s : float
        In seconds. A worker with a heartbeat this recent may serve the model unless it refuses it, even if
        it has stopped: it may be restarting. A living worker must have refused the model for this long, and
        the database must have answered for this long: after a full outage, a worker without the model may
        come back first.
    asked_by : ID of a worker that refuses it
    """
    this = refusals.c.model_digest == model_digest
    with database.transaction() as connection:
        connection.execute(delete(refusals).where(_is_forgotten()))
        is_of_the_living = _is_of(_lives(alive_within_s)) | (refusals.c.worker_id == asked_by)
        since = select(func.min(refusals.c.refused_at)).where(this, is_of_the_living).scalar_subquery()
        lasted = connection.scalar(select(and_(since <= now(-alive_within_s), is_steady(alive_within_s))))
        if not lasted or _is_served(connection, model_digest, _seen(alive_within_s)):
            return None
        query = select(refusals).where(this, is_of_the_living)
        rows = connection.execute(query.order_by(refusals.c.worker_id)).all()
    return f"no living worker has model {model_digest[:12]}: {_named(rows)}"


def refused_models(database: Database, *, alive_within_s: float) -> list[dict[str, Any]]:
    """Return the models that living workers refuse, with each worker's reason and the number of open batches.

    `may_be_served` tells whether another living worker has not refused the model.
    """
    query = (
        select(refusals).where(_is_of(_lives(alive_within_s))).order_by(refusals.c.model_digest, refusals.c.worker_id)
    )
    found: dict[str, dict[str, Any]] = {}
    with database.reading() as connection:
        for row in connection.execute(query):
            model = found.setdefault(row.model_digest, {"model_digest": row.model_digest, "workers": {}})
            model["workers"][row.worker_id] = row.reason
        for digest, model in found.items():
            model |= _need(connection, digest)
            model["may_be_served"] = _is_served(connection, digest, _lives(alive_within_s))
    return list(found.values())


def _need(connection: Connection, model_digest: str) -> dict[str, Any]:
    is_open = and_(batches.c.finished_at.is_(None), batches.c.pruned_at.is_(None))
    query = select(func.count().label("open_batches"), func.min(batches.c.model).label("model"))
    return dict(connection.execute(query.where(is_open, batches.c.model_digest == model_digest)).one()._mapping)


def _is_served(connection: Connection, model_digest: str, by: ColumnElement[bool]) -> bool:
    """Whether one of these workers has not refused the model."""
    refusing = select(refusals.c.worker_id).where(refusals.c.model_digest == model_digest)
    return connection.scalar(select(workers.c.id).where(by, workers.c.id.not_in(refusing)).limit(1)) is not None


def _is_of(by: ColumnElement[bool]) -> ColumnElement[bool]:
    return refusals.c.worker_id.in_(select(workers.c.id).where(by))


def _lives(within_s: float) -> ColumnElement[bool]:
    return _seen(within_s) & workers.c.stopped_at.is_(None)


def _seen(within_s: float) -> ColumnElement[bool]:
    return workers.c.heartbeat_at > now(-within_s)


def _is_forgotten() -> ColumnElement[bool]:
    return and_(refusals.c.refused_at < now(-_FORGOTTEN_S), ~_is_of(_seen(_FORGOTTEN_S)))


def _named(rows: Sequence[Row[Any]]) -> str:
    named = "; ".join(f"{row.worker_id}: {row.reason}" for row in rows[:_MOST_NAMED])
    more = len(rows) - _MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named
