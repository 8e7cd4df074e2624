"""Copy outputs that the same model already made from the same inputs, instead of making them again.

Reused jobs are finished as a worker finishes them: claimed, staged, placed, recorded. So reused and
rendered outputs carry the same guarantees. Jobs that cannot be reused return to the queue.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row, select, text

from wavemill.errors import WavemillError
from wavemill.jobs.claims import Claim, ClaimedJob, claim_chunk, renew_leases
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish
from wavemill.jobs.renewing import renewing
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State
from wavemill.storage.locations import batch_root, opened
from wavemill.storage.staging import JobOutputs, OutputStore
from wavemill.storage.stores import open_store

# Rows with job name and item -> name -> digest of the inputs; None where it cannot be computed.
InputDigests = Callable[[Sequence[Row[Any]]], Mapping[str, str | None]]

_PAGE = 1_000
_LEASE_S = 120.0
_RENEWALS_PER_LEASE = 4
_IS_DONE = text("jobs.state = 'done'")  # as the partial index is written
_SOUNDS = (("generated", "generated_path", "sha256"), ("original", "original_path", "original_sha256"))


def reuse_outputs(
    database: Database, batch_id: str, *, input_digests: InputDigests, worker_id: str, lease_s: float = _LEASE_S
) -> int:
    """Finish the jobs of a batch whose outputs exist already, unchanged; return how many.

    A done job matches if operation, parameters (including the seed), model digest, name, item and inputs
    are the same. Each file is read, checked against its recorded SHA-256 and copied below the new batch.
    """
    with database.reading() as connection:
        batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    alike = _batches_alike(database, batch)
    if not alike:
        return 0
    store = open_store(batch_root(batch.output, batch_id))
    reused = 0
    for page in _pages_of(database, batch_id):
        found = _made_before(database, page, input_digests(page), alike)
        chunks = sorted({seq // batch.chunk_size for seq in found})
        for first in (chunk * batch.chunk_size for chunk in chunks):
            last = first + batch.chunk_size - 1
            claim = claim_chunk(database, batch_id, first, last, worker_id=worker_id, lease_s=lease_s)
            if claim is not None:
                # As a worker's heartbeat does: copying a large chunk takes long.
                renew = partial(renew_leases, database, [claim], lease_s=lease_s)
                with renewing(renew, every_s=lease_s / _RENEWALS_PER_LEASE, within_s=lease_s / 2):
                    reused += _finish(database, claim, found, store)
    return reused


def _batches_alike(database: Database, batch: Row[Any]) -> list[str]:
    query = select(batches.c.id, batches.c.params).where(
        batches.c.operation == batch.operation,
        batches.c.model_digest.is_not_distinct_from(batch.model_digest),
        batches.c.done > 0,
        batches.c.pruned_at.is_(None),
        batches.c.id != batch.id,
    )
    with database.reading() as connection:
        return [row.id for row in connection.execute(query) if row.params == batch.params]


def _pages_of(database: Database, batch_id: str) -> Iterator[Sequence[Row[Any]]]:
    first = 0
    columns = [jobs.c[name] for name in ("seq", "spectrogram_id", "item")]
    query = select(*columns).order_by(jobs.c.seq)
    while True:
        in_page = jobs.c.seq.between(first, first + _PAGE - 1)
        with database.reading() as connection:
            rows = connection.execute(query.where(jobs.c.batch_id == batch_id, in_page)).all()
        if not rows:
            return
        yield rows
        first += _PAGE


def _made_before(
    database: Database, page: Sequence[Row[Any]], digests: Mapping[str, str | None], alike: Sequence[str]
) -> dict[int, list[Row[Any]]]:
    """Return seq -> the done jobs that match it, newest first."""
    names = [row.spectrogram_id for row in page]
    query = select(jobs).where(_IS_DONE, jobs.c.spectrogram_id.in_(names), jobs.c.inputs_sha256.is_not(None))
    done = defaultdict(list)
    with database.reading() as connection:
        for row in connection.execute(query.order_by(jobs.c.id.desc())):
            if row.batch_id in alike and row.inputs_sha256 == digests.get(row.spectrogram_id):
                done[row.spectrogram_id].append(row)
    found = {row.seq: [one for one in done[row.spectrogram_id] if one.item == row.item] for row in page}
    return {seq: rows for seq, rows in found.items() if rows}


def _finish(database: Database, claim: Claim, found: Mapping[int, list[Row[Any]]], store: OutputStore) -> int:
    outcomes = [_outcome(job, found.get(job.seq, []), store) for job in claim.jobs]
    finished = finish(database, [(claim, outcomes)], on_place_error=lambda job, _: Outcome(job=job, state=State.QUEUED))
    if finished.over:
        store.clear_staging()
    return sum(outcome.state is State.DONE for outcome in outcomes)


def _outcome(job: ClaimedJob, candidates: Sequence[Row[Any]], store: OutputStore) -> Outcome:
    for earlier in candidates:
        contents = _intact(earlier)
        if not contents:
            continue
        outputs = JobOutputs(store, job_id=job.id, fence=job.fence)
        try:
            paths = {column: outputs.stage(column, path, data) for column, (path, data) in contents.items()}
        except WavemillError:  # e.g. a full disk: leave the job to a worker, which waits and tries again
            break
        return Outcome(
            job=job,
            state=State.DONE,
            columns=_columns(earlier) | paths,
            place=outputs.place,
            discard=outputs.discard,
        )
    return Outcome(job=job, state=State.QUEUED)  # for a worker; the attempt does not count


def _intact(earlier: Row[Any]) -> dict[str, tuple[str, bytes]] | None:
    """Return column -> (path below the batch's folder, content), or None if any file is missing or changed."""
    contents = {}
    for folder, path_column, digest_column in _SOUNDS:
        path, digest = getattr(earlier, path_column), getattr(earlier, digest_column)
        if path is None:
            continue
        try:
            with opened(path) as file:
                data = file.read()
        except Exception:  # gone or unreachable; stores raise many types: render it again
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        suffix = path.rpartition(f"/{folder}/{earlier.spectrogram_id}")[2]
        contents[path_column] = (f"{folder}/{earlier.spectrogram_id}{suffix}", data)
    return contents


def _columns(earlier: Row[Any]) -> dict[str, Any]:
    kept = ("inputs_sha256", "sha256", "original_sha256", "flags")
    columns = {name: getattr(earlier, name) for name in kept}
    return columns | {"quality": {**(earlier.quality or {}), "reused_from_job": earlier.id}}
