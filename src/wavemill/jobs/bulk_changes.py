"""What a bulk action does to one page of jobs, within one transaction.

Each change owns the batches of its jobs, and says in its statements which state it expects. So it
passes over jobs that have moved on since the page was read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, delete, or_, select, update

from wavemill.errors import StorageUnavailableError
from wavemill.jobs.control import queue_again, take_back
from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, is_among, now
from wavemill.jobs.locks import own_batch
from wavemill.jobs.ratings import rate_in
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import FINAL, State
from wavemill.storage.locations import is_remote

RETRIED = (State.FAILED, State.CANCELLED)
_PATHS = ("generated_path", "original_path", "latent_path")

# Outputs to remove, of one batch: its output folder, its ID, the paths.
Files = dict[str, Any]


@dataclass(kw_only=True)
class Change:
    """What became of a page: how many jobs were changed, batches with queued jobs, files to remove."""

    jobs: int = 0
    queued: set[str] = field(default_factory=set)
    files: list[Files] = field(default_factory=list)


def prepare_retry(database: Database, rows: Sequence[RowMapping]) -> None:
    """Take back the cancel, or the stop, of the batches of failed and cancelled jobs."""
    ids = {row["batch_id"] for row in rows if row["state"] in RETRIED}
    ended = or_(batches.c.cancelled_at.is_not(None), batches.c.stopped.is_not(None), batches.c.deaths > 0)
    with database.reading() as connection:
        found = list(connection.scalars(select(batches.c.id).where(batches.c.id.in_(ids), ended)))
    for batch_id in found:
        take_back(database, batch_id, RETRIED)


def retry_page(connection: Connection, rows: Sequence[RowMapping], params: Mapping[str, Any]) -> Change:
    """Queue failed and cancelled jobs again."""
    change = Change()
    for batch, ids in _owned(connection, rows):
        if batch.cancelled_at is not None:  # again, meanwhile
            continue
        for state in RETRIED:
            chosen = _jobs(connection, batch.id, ids, [state])
            if chosen:
                queue_again(connection, batch, state, chosen, params["extra_attempts"])
                change.jobs += len(chosen)
                change.queued.add(batch.id)
    return change


def cancel_page(connection: Connection, rows: Sequence[RowMapping], _params: Mapping[str, Any]) -> Change:
    """Cancel queued jobs. Chunks stay: a claim takes the jobs of its chunk that are still queued."""
    change = Change()
    for batch, ids in _owned(connection, rows):
        if batch.cancelled_at is not None:  # its queued jobs are cancelled already
            continue
        queued = is_among(jobs.c.id, ids), jobs.c.state == State.QUEUED
        values = {"state": State.CANCELLED, "finished_at": now()}
        count = connection.execute(update(jobs).where(jobs.c.batch_id == batch.id, *queued).values(values)).rowcount
        move_counts(connection, {batch.id: {State.QUEUED: -count, State.CANCELLED: count}})
        if batch.queued + batch.running == count:
            connection.execute(delete(chunks).where(chunks.c.batch_id == batch.id))
        change.jobs += count
    return change


def rate_page(connection: Connection, rows: Sequence[RowMapping], params: Mapping[str, Any]) -> Change:
    """Rate jobs."""
    return Change(jobs=rate_in(connection, [row["id"] for row in rows], params["rating"]))


def delete_page(connection: Connection, rows: Sequence[RowMapping], _params: Mapping[str, Any]) -> Change:
    """Delete the rows of final jobs; return their files, which the caller removes after the commit."""
    change = Change()
    for batch, ids in _owned(connection, rows):
        # In a cancelled batch, a queued row counts as cancelled.
        states = [*FINAL, State.QUEUED] if batch.cancelled_at is not None else list(FINAL)
        chosen = _jobs(connection, batch.id, ids, states)
        if not chosen:
            continue
        paths = [path for row in chosen for path in _outputs(row)]
        if paths:
            _require_there(batch.output)
            change.files.append({"output": batch.output, "batch_id": batch.id, "paths": paths})
        connection.execute(delete(jobs).where(is_among(jobs.c.id, [row.id for row in chosen])))
        _take_off(connection, batch.id, Counter(_counted_as(row.state) for row in chosen))
        change.jobs += len(chosen)
    return change


ChangePage = Callable[[Connection, Sequence[RowMapping], Mapping[str, Any]], Change]


def _owned(connection: Connection, rows: Sequence[RowMapping]) -> Iterable[tuple[Row[Any], list[int]]]:
    """Own the batches of jobs, in the order of their IDs; yield each with the IDs of its jobs."""
    by_batch: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_batch[row["batch_id"]].append(row["id"])
    for batch_id in sorted(by_batch):
        own_batch(connection, batch_id)
        seen = (batches.c.id == batch_id, batches.c.pruned_at.is_(None))
        batch = connection.execute(select(batches).where(*seen)).one_or_none()
        if batch is not None:
            yield batch, by_batch[batch_id]


def _jobs(connection: Connection, batch_id: str, ids: Sequence[int], states: Sequence[State]) -> Sequence[Row[Any]]:
    columns = [jobs.c[name] for name in ("id", "seq", "state", *_PATHS)]
    wanted = (jobs.c.batch_id == batch_id, is_among(jobs.c.id, ids), jobs.c.state.in_(states))
    return connection.execute(select(*columns).where(*wanted)).all()


def _outputs(row: Row[Any]) -> list[str]:
    latent = [row.latent_path, f"{row.latent_path.removesuffix('.npy')}.json"] if row.latent_path else []
    return [path for path in (row.generated_path, row.original_path, *latent) if path]


def _require_there(output: str) -> None:
    if not is_remote(output) and not Path(output.removeprefix("file://")).is_dir():
        raise StorageUnavailableError(
            f"the output folder {output} is not there, so no job was deleted: mount its disk, or remove whole batches "
            "with: wavemill gc --deleted"
        )


def _counted_as(state: str) -> State:
    return State.CANCELLED if state == State.QUEUED else State(state)


def _take_off(connection: Connection, batch_id: str, counts: Mapping[State, int]) -> None:
    """Take deleted jobs off the counters; off the marks too, so that the rate stays that of the work done."""
    n, c = sum(counts.values()), batches.c
    values = {state.value: c[state] - count for state, count in counts.items()}
    marks = {name: c[name] - n for name in ("total", "mark_final", "newer_mark_final")}
    connection.execute(update(batches).where(c.id == batch_id).values(values | marks))
