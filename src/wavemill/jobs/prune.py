"""Removing finished batches, their files together with their rows.

In three steps, so that a kill between any two leaves nothing wrong. The batch is marked, and from then on nobody sees,
retries or reuses it; then, a page at a time, files go and after them the rows that name them; then the batch's row.
A mark without an end is taken up by the next run. Rows first would lose the names of files that are still there; files
first, without the mark, would leave rows that say `done` of files that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Row, delete, select, update

from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import own_batch
from wavemill.jobs.schema import batches, jobs
from wavemill.storage import batch_root, file_system_of, is_url, open_store

_PAGE = 1_000


def batches_to_prune(database: Database, *, older_than_s: float) -> list[Row[Any]]:
    """Return the batches that finished so long ago, and those whose pruning was interrupted."""
    is_old = batches.c.finished_at <= now(-older_than_s)
    columns = [batches.c[name] for name in ("id", "name", "output", "total", "done", "finished_at", "pruned_at")]
    query = select(*columns).where(is_old | batches.c.pruned_at.is_not(None)).order_by(batches.c.created_at)
    with database.reading() as connection:
        return list(connection.execute(query).all())


def prune_batch(database: Database, batch_id: str, *, older_than_s: float) -> int:
    """Remove a batch that is still finished and old enough, with all that its rows name; return how many jobs went.

    Raises OSError, or what its store raises, where files cannot be removed: then their rows stay too.
    """
    if not _mark(database, batch_id, older_than_s):
        return 0
    with database.reading() as connection:
        batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    removed = 0
    while page := _page(database, batch_id):
        for row in page:
            _remove(_locations(row))
        ids = [row.id for row in page]
        with database.transaction() as connection:
            removed += connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount
    store = open_store(batch_root(batch.output, batch_id))
    store.clear_staging()
    store.remove_empty_folders()
    with database.transaction() as connection:
        connection.execute(delete(batches).where(batches.c.id == batch_id))
    return removed


def _mark(database: Database, batch_id: str, older_than_s: float) -> bool:
    """Hide the batch, unless it was retried meanwhile; its key is free again."""
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


def _remove(locations: Iterable[str]) -> None:
    for location in locations:
        if is_url(location):
            file_system, path = file_system_of(location)
            with suppress(FileNotFoundError):
                file_system.rm_file(path)
        else:
            Path(location).unlink(missing_ok=True)
