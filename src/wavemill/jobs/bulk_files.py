"""Removes the outputs of deleted jobs, which the action's row notes until they are gone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Row, select, update

from wavemill.errors import NotFoundError
from wavemill.jobs.bulk_changes import Files
from wavemill.jobs.database import Database
from wavemill.jobs.management_schema import bulk_actions
from wavemill.storage.reading import remove_output


def remove_noted(database: Database, row: Row[Any]) -> None:
    """Remove the files that an earlier page has left to be removed."""
    if not row.files:
        return
    for files in row.files:
        _remove_files(files)
    same = (bulk_actions.c.id == row.id, bulk_actions.c.after_id == row.after_id)
    with database.transaction() as connection:
        connection.execute(update(bulk_actions).where(*same).values(files=None))


def remove_left(database: Database, row: Row[Any]) -> None:
    """Remove the files that earlier deletions of the same jobs' batch could not remove."""
    same_batch = bulk_actions.c.batch_id.is_not_distinct_from(row.batch_id)
    left = (bulk_actions.c.state == "failed", bulk_actions.c.files.is_not(None), same_batch)
    with database.reading() as connection:
        found = connection.execute(select(bulk_actions).where(*left).order_by(bulk_actions.c.id)).all()
    for earlier in found:
        remove_noted(database, earlier)


def _remove_files(files: Files) -> None:
    for path in files["paths"]:
        with suppress(NotFoundError):  # outside the batch's folder: a forged row
            remove_output(path, output=files["output"], batch_id=files["batch_id"])
