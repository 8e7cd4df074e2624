"""Actions on all jobs that match a filter, of one batch or of all.

An action is a row of `bulk_actions`. The process that runs it works a page at a time. It records in
the transaction that changes a page how far it is, and only if no other process has recorded more.
So an action that is taken over from a dead process, or from one that was only slow, changes each
page once. `beat_at` tells other processes that an action is run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, and_, func, insert, or_, select, text, update

from wavemill.errors import DatabaseUnavailableError, NotFoundError, UsageError, WavemillError
from wavemill.jobs.bulk_changes import (
    Change,
    ChangePage,
    cancel_page,
    delete_page,
    prepare_retry,
    rate_page,
    retry_page,
)
from wavemill.jobs.bulk_files import remove_left, remove_noted
from wavemill.jobs.database import Database, now
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import parse
from wavemill.jobs.management_schema import bulk_actions
from wavemill.jobs.matching import count_matching
from wavemill.jobs.renewing import renewing

logger = logging.getLogger(__name__)

SILENT_S = 30.0  # an action whose process has not beaten for this long may be taken over
_FORGOTTEN_S = 86_400.0
_BEAT_S = 5.0
_PAGE = 1_000  # jobs changed in one transaction
RUNNING, DONE, FAILED = "running", "done", "failed"  # states of an action
_IS_RUNNING = text("bulk_actions.state = 'running'")  # as the partial index is written


class Action(StrEnum):
    """What can be done to all jobs that match."""

    RETRY = "retry"  # queue failed and cancelled jobs again
    CANCEL = "cancel"  # cancel queued jobs
    DELETE = "delete"  # remove final jobs and their outputs
    RATE = "rate"  # give a rating, or take it away
    EXPORT = "export"  # write jobs, or their outputs, into one file
    RENDER = "render"  # render again, as a new batch


@dataclass(frozen=True)
class _Paged:
    """How an action changes a page, and what it does before."""

    change: ChangePage
    prepare: Callable[[Database, Sequence[RowMapping]], None] = lambda _database, _rows: None


_PAGED: Mapping[Action, _Paged] = {
    Action.RETRY: _Paged(retry_page, prepare_retry),
    Action.CANCEL: _Paged(cancel_page),
    Action.DELETE: _Paged(delete_page),
    Action.RATE: _Paged(rate_page),
}


class StoppedError(Exception):
    """The process ends before its action does."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the process that runs an action gives it.

    Attributes
    ----------
    whole : actions that do not change jobs page by page; each returns the action's result
    announce : called with the ID of each batch of which jobs were queued: after its first page, and at the end
    told : called with the action's status after each page; raises StoppedError to leave the rest to another process
    """

    whole: Mapping[Action, Callable[[Row[Any]], dict[str, Any]]] = field(default_factory=dict)
    announce: Callable[[str], None] = lambda _: None
    told: Callable[[dict[str, Any]], None] = lambda _: None


def start(
    database: Database,
    action: Action,
    *,
    batch_id: str | None,
    where: Sequence[str],
    params: Mapping[str, Any],
    is_mine: bool = False,
    counted: tuple[int, bool] | None = None,
) -> int:
    """Write an action down and return its ID.

    With `is_mine` the caller runs it at once. Otherwise it waits for a process that takes it. `counted` is what
    `count_matching` has returned to the caller, if it has asked.
    """
    count, is_exact = counted or count_matching(database, batch_id=batch_id, conditions=parse(where))
    values = {
        "action": action,
        "batch_id": batch_id,
        "conditions": list(where),
        "params": dict(params),
        "state": RUNNING,
        "total": count,
        "is_exact": is_exact,
        "created_at": now(),
        "beat_at": now() if is_mine else None,
    }
    with database.transaction() as connection:
        return int(connection.execute(insert(bulk_actions).values(values).returning(bulk_actions.c.id)).scalar_one())


def take_next(database: Database, *, silent_s: float = SILENT_S) -> int | None:
    """Take an action that nobody runs; return its ID, or None if there is none.

    One that was left more than a day ago is ended instead: nobody expects it to go on.
    """
    left_at = func.coalesce(bulk_actions.c.beat_at, bulk_actions.c.created_at)
    is_free = and_(_IS_RUNNING, or_(bulk_actions.c.beat_at.is_(None), bulk_actions.c.beat_at < now(-silent_s)))
    while True:
        with database.reading() as connection:
            free = select(bulk_actions.c.id, (left_at < now(-_FORGOTTEN_S)).label("is_forgotten")).where(is_free)
            found = connection.execute(free.order_by(bulk_actions.c.id).limit(1)).one_or_none()
        if found is None:
            return None
        if found.is_forgotten:
            _end(database, found.id, state=FAILED, error="the process that ran it died; begin it again")
            continue
        with database.transaction() as connection:
            mine = update(bulk_actions).where(bulk_actions.c.id == found.id, is_free).values(beat_at=now())
            if connection.execute(mine).rowcount:
                return int(found.id)


def bulk_status(database: Database, action_id: int) -> dict[str, Any]:
    """Return where an action stands; NotFoundError if there is none."""
    row = _row(database, action_id)
    return {name: value for name, value in row._mapping.items() if name not in {"files", "beat_at", "after_id"}}


def _row(database: Database, action_id: int) -> Row[Any]:
    with database.reading() as connection:
        row = connection.execute(select(bulk_actions).where(bulk_actions.c.id == action_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no bulk action {action_id}")
    return row


def run(database: Database, action_id: int, surroundings: Surroundings | None = None) -> dict[str, Any]:
    """Run an action that this process has taken, to its end; return its status.

    An error of the action is in its status. If the table does not answer, raises
    DatabaseUnavailableError: the action goes on when a process takes it.
    """
    around = surroundings or Surroundings()
    with renewing(partial(_beat, database, action_id), every_s=_BEAT_S, within_s=_BEAT_S):
        try:
            _run(database, action_id, around)
        except DatabaseUnavailableError:
            raise
        except StoppedError:
            _release(database, action_id)
        except (KeyboardInterrupt, SystemExit):  # somebody wants it to end, not to go on elsewhere
            _end(database, action_id, state=FAILED, error="it was interrupted")
            raise
        except WavemillError as exc:
            left = "" if _row(database, action_id).files is None else "; delete again when this is mended"
            _end(database, action_id, state=FAILED, error=f"{exc}{left}")
        except Exception as exc:
            logger.exception("bulk action %d failed", action_id)
            _end(database, action_id, state=FAILED, error=f"it failed with {type(exc).__name__}; the log says why")
    return bulk_status(database, action_id)


def _run(database: Database, action_id: int, around: Surroundings) -> None:
    row = _row(database, action_id)
    if row.action in around.whole:
        result = around.whole[Action(row.action)](row)
        _end(database, action_id, state=DONE, result=result)
        return
    if row.action not in _PAGED:
        raise UsageError(f"this process cannot run the action {row.action}: update wavemill here")
    if row.action == Action.DELETE:
        remove_left(database, row)
    queued: set[str] = set()
    while row.state == RUNNING:
        remove_noted(database, row)
        of_page = _run_page(database, row)
        for batch_id in of_page - queued:
            around.announce(batch_id)
        queued |= of_page
        around.told(bulk_status(database, action_id))
        row = _row(database, action_id)
    for batch_id in queued:  # for its later pages: not after each, as a broker that is away takes a while to say so
        around.announce(batch_id)


def _run_page(database: Database, row: Row[Any]) -> set[str]:
    """Change the next page, unless another process has done so; return the batches of which jobs were queued."""
    paged = _PAGED[Action(row.action)]
    conditions = parse(row.conditions)
    page = filtered_page(database, batch_id=row.batch_id, conditions=conditions, after=row.after_id, limit=_PAGE)
    paged.prepare(database, page.rows)
    queued: set[str] = set()
    with suppress(_TakenOverError), database.transaction() as connection:
        change = paged.change(connection, page.rows, row.params)
        values: dict[str, Any] = {
            "changed": bulk_actions.c.changed + change.jobs,
            "seen": bulk_actions.c.seen + len(page.rows),
            "beat_at": now(),
            "files": change.files or None,
            **_place_after(page.after, page.rows, change),
        }
        unchanged = (_is(row.id), _IS_RUNNING, bulk_actions.c.after_id == row.after_id)
        if not connection.execute(update(bulk_actions).where(*unchanged).values(values)).rowcount:
            raise _TakenOverError  # rolls the page back
        queued = change.queued
    return queued


class _TakenOverError(Exception):
    """Another process runs the action and was faster."""


def _place_after(after: int | None, rows: Sequence[RowMapping], change: Change) -> dict[str, Any]:
    if after is not None:
        return {"after_id": after}
    if change.files:  # the next page is empty; it ends the action when these are removed
        return {"after_id": rows[-1]["id"]}
    return {"state": DONE, "finished_at": now()}


def report(database: Database, action_id: int, passed: int) -> None:
    """Record how far an action is that does not change jobs."""
    with database.transaction() as connection:
        running = update(bulk_actions).where(_is(action_id), _IS_RUNNING)
        connection.execute(running.values(changed=passed, seen=passed, beat_at=now()))


def _end(database: Database, action_id: int, *, state: str, **values: Any) -> None:
    with database.transaction() as connection:
        running = update(bulk_actions).where(_is(action_id), _IS_RUNNING)
        connection.execute(running.values(state=state, finished_at=now(), **values))


def _release(database: Database, action_id: int) -> None:
    with database.transaction() as connection:
        connection.execute(update(bulk_actions).where(_is(action_id), _IS_RUNNING).values(beat_at=None))


def _is(action_id: int) -> ColumnElement[bool]:
    return bulk_actions.c.id == action_id


def _beat(database: Database, action_id: int) -> None:
    with database.transaction() as connection:
        connection.execute(update(bulk_actions).where(_is(action_id), _IS_RUNNING).values(beat_at=now()))
