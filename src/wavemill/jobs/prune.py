"""Remove finished batches: their output files and their rows.

Three steps, each safe to interrupt:
1. Mark the batch, which hides it from listings, retries and reuse.
2. One page at a time, delete files, then the job rows that name them.
3. Delete the batch's row.
The next run continues an interrupted batch. Deleting rows first would lose the names of remaining
files; deleting files without the mark would leave `done` rows whose files are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, delete, select, update

from wavemill.errors import NotFoundError, StorageUnavailableError, UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import own_batch
from wavemill.jobs.schema import batches, jobs
from wavemill.storage.locations import batch_root, is_remote, is_url
from wavemill.storage.reading import remove_output
from wavemill.storage.stores import open_store

_PAGE = 1_000


def batches_to_prune(database: Database, *, older_than_s: float, batch_ids: Sequence[str] = ()) -> list[Row[Any]]:
    """Return the batches that finished at least `older_than_s` seconds ago, and those whose removal was interrupted.

    Parameters
    ----------
    batch_ids : only these; an unknown one is a NotFoundError, an unfinished one a UsageError
    """
    may_go = (batches.c.finished_at <= now(-older_than_s)) | batches.c.pruned_at.is_not(None)
    columns = [batches.c[name] for name in ("id", "name", "output", "total", "done", "finished_at", "pruned_at")]
    query: Select[Any] = select(*columns, may_go.label("may_go")).order_by(batches.c.created_at)
    with database.reading() as connection:
        if not batch_ids:
            return list(connection.execute(query.where(may_go)).all())
        found = {row.id: row for row in connection.execute(query.where(batches.c.id.in_(batch_ids))).all()}
    for batch_id in batch_ids:
        if batch_id not in found:
            raise NotFoundError(f"there is no batch {batch_id}")
        if found[batch_id].finished_at is None:
            raise UsageError(f"batch {batch_id} is not finished; wavemill cancel {batch_id} ends it")
    return [row for row in found.values() if row.may_go]


def prune_batch(database: Database, batch_id: str, *, older_than_s: float, is_deleted: bool = False) -> int:
    """Remove a batch and its files if it is still finished and old enough; return how many jobs were removed.

    Parameters
    ----------
    is_deleted : bool
        The output folder was deleted by hand. Otherwise a missing folder is an error: its disk may not be
        mounted.

    Raises
    ------
    StorageUnavailableError
        The output folder is gone, or its store does not answer.
    OutputError, StorageError
        Files cannot be removed. Their rows stay too, as with the error above.
    """
    if not _mark(database, batch_id, older_than_s):
        return 0
    with database.reading() as connection:
        batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    root = batch_root(batch.output, batch_id)
    is_gone = is_deleted and not is_remote(root) and not Path(root.removeprefix("file://")).is_dir()
    removed = 0
    while page := _page(database, batch_id):
        if not is_deleted and any(map(_locations, page)):
            _require_there(root)
        if not is_gone:
            _remove([path for row in page for path in _locations(row)], batch)
        ids = [row.id for row in page]
        with database.transaction() as connection:
            removed += connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount
    store = open_store(root)
    store.clear_staging()
    store.remove_empty_folders()
    with database.transaction() as connection:
        connection.execute(delete(batches).where(batches.c.id == batch_id))
    return removed


def _mark(database: Database, batch_id: str, older_than_s: float) -> bool:
    """Hide the batch and free its key, unless it was retried meanwhile; return whether it is hidden."""
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        is_old = batches.c.finished_at <= now(-older_than_s)
        marked = connection.execute(
            update(batches)
            .where(batches.c.id == batch_id, is_old | batches.c.pruned_at.is_not(None))
            .values(pruned_at=now(), key=None)
        ).rowcount
    return bool(marked)


def _page(database: Database, batch_id: str) -> list[Row[Any]]:
    columns = [jobs.c[name] for name in ("id", "generated_path", "original_path", "latent_path")]
    query = select(*columns).where(jobs.c.batch_id == batch_id).order_by(jobs.c.seq).limit(_PAGE)
    with database.reading() as connection:
        return list(connection.execute(query).all())


def _locations(row: Row[Any]) -> list[str]:
    latent = [row.latent_path, f"{row.latent_path.removesuffix('.npy')}.json"] if row.latent_path else []
    return [path for path in (row.generated_path, row.original_path, *latent) if path]


def _require_there(root: str) -> None:
    if not is_url(root) and not Path(root).is_dir():
        raise StorageUnavailableError(
            f"the output folder {root} is gone: mount its disk, or pass --deleted if it was deleted on purpose"
        )


def _remove(paths: Iterable[str], batch: Row[Any]) -> None:
    for path in paths:
        with suppress(NotFoundError):  # outside the batch's folder: a forged row
            remove_output(path, output=batch.output, batch_id=batch.id)
