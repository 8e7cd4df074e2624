"""A page of any listing holds the right jobs, and is found without reading many more. Work is counted, not timed."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Row, bindparam, event, select, update
from support.batches import submit

from wavemill.jobs import pages
from wavemill.jobs.database import Database, now
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import parse
from wavemill.jobs.flags import Flag
from wavemill.jobs.queries import all_left, list_jobs
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State

STATES = (None, *State)
FLAGS = (None, *Flag)
FLAG_TEXTS = (None, "silent", "clipped", "far", "silent clipped", "silent far", "clipped far", "silent clipped far")


def _set_rows(database: Database, values: list[dict[str, Any]]) -> None:
    moved = update(jobs).where(jobs.c.id == bindparam("job")).values(state=bindparam("s"), flags=bindparam("f"))
    with database.transaction() as connection:
        connection.execute(moved, values)


def _stored(database: Database) -> list[Row[Any]]:
    query = select(jobs.c.id, jobs.c.batch_id, jobs.c.state, jobs.c.flags, batches.c.cancelled_at, batches.c.pruned_at)
    with database.reading() as connection:
        return list(connection.execute(query.join_from(jobs, batches).order_by(jobs.c.id)))


def _expected(
    rows: list[Row[Any]], batch_id: str | None, state: State | None, flag: str | None, after: int
) -> list[int]:
    def is_wanted(row: Row[Any]) -> bool:
        follows = row.state == "queued" and row.cancelled_at is not None
        return (
            row.pruned_at is None
            and row.id > after
            and batch_id in (None, row.batch_id)
            and state in (None, "cancelled" if follows else row.state)
            and (flag is None or flag in (row.flags or "").split())
        )

    return [row.id for row in rows if is_wanted(row)]


def test_every_listing_holds_what_was_asked_for_and_nothing_else(database: Database) -> None:
    rng = random.Random(5)
    ids = [submit(database, rng.randint(1, 25)) for _ in range(30)]
    values = [
        {"job": row.id, "s": rng.choice(list(State)).value, "f": rng.choice(FLAG_TEXTS)} for row in _stored(database)
    ]
    _set_rows(database, values)
    with database.transaction() as connection:
        for batch_id in ids[::4]:
            connection.execute(update(batches).where(batches.c.id == batch_id).values(cancelled_at=now()))
        for batch_id in ids[1::9]:
            connection.execute(update(batches).where(batches.c.id == batch_id).values(pruned_at=now()))
    rows = _stored(database)
    whole = [None, ids[0], ids[1], ids[2], "nope"]
    for batch_id, state, flag, after in itertools.product(whole, STATES, FLAGS, (0, rows[len(rows) // 2].id)):
        expected = _expected(rows, batch_id, state, flag, after)
        asked = {"batch_id": batch_id, "state": state, "flag": flag, "after": after}
        assert [row.id for row in list_jobs(database, **asked, page=7)] == expected, asked
        assert [row.id for row in list_jobs(database, **asked, limit=5)] == expected[:5], asked


def test_queued_jobs_of_batches_that_lie_in_each_other_are_listed_in_order(database: Database) -> None:
    """As producers that submit at the same time write them on PostgreSQL."""
    owners = [submit(database, 60) for _ in range(4)]
    rows = _stored(database)
    shuffled = [row.id for row in rows]
    random.Random(1).shuffle(shuffled)
    with database.transaction() as connection:
        for k, job_id in enumerate(shuffled):  # a running number, so that no two are alike
            values = {"batch_id": owners[k % 4], "seq": 1_000 + k}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    _set_rows(database, [{"job": row.id, "s": "done", "f": None} for row in rows if row.id % 3])
    expected = [row.id for row in rows if not row.id % 3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_NEAR", 0)
        for size in (1, 3, 10, 200):
            assert [row.id for row in list_jobs(database, state=State.QUEUED, page=size)] == expected


N = 20_000  # jobs
ROWS_READ = 2_500  # of 20,000: a page of 100, and what is looked at beside it
STEPS = 30_000  # of SQLite's machine; a row takes about 10


@pytest.fixture
def large(database: Database) -> tuple[Database, str]:
    """A batch of which all jobs are done and silent."""
    batch_id = submit(database, N, chunk_size=64)
    with database.transaction() as connection:
        connection.execute(update(jobs).values(state=State.DONE, flags="silent"))
    return database, batch_id


class Work:
    """What the statements did: SQLite's plans and steps, PostgreSQL's plans and rows."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, Any]] = []
        self.steps = 0

    def _keep(self, _c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.statements.append((statement, parameters))

    def _step(self) -> int:
        self.steps += 100
        return 0


@contextmanager
def _watched(database: Database) -> Iterator[Work]:
    work = Work()
    event.listen(database.engine, "before_cursor_execute", work._keep)
    if not database.is_postgresql:
        with database.reading() as connection:
            connection.connection.driver_connection.set_progress_handler(work._step, 100)
    try:
        yield work
    finally:
        event.remove(database.engine, "before_cursor_execute", work._keep)
        database.engine.dispose()


def _most_rows_read(database: Database, work: Work) -> int:
    """Return the most rows that one node of a PostgreSQL plan read."""
    most = 0
    with database.reading() as connection:
        for statement, parameters in work.statements:
            if not statement.startswith("SELECT") or "pg_catalog" in statement:
                continue
            if "set_config" in statement:
                connection.exec_driver_sql(statement)
                continue
            (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            most = max(most, *(_rows_of(node) for node in _nodes(plan["Plan"])))
    return most


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


def _rows_of(node: dict[str, Any]) -> int:
    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(read * node["Actual Loops"])


def _scans_all_jobs(database: Database, work: Work) -> list[str]:
    """Return the steps of SQLite's plans that go through every job."""
    found = []
    with database.reading() as connection:
        for statement, parameters in work.statements:
            if statement.startswith("SELECT"):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found += [row[-1] for row in plan if re.match(r"SCAN jobs\b", row[-1])]
    return found


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_page_reads_little_more_than_itself(large: tuple[Database, str], in_batch: bool) -> None:
    """The same where nearly every job matches, where none does, and where the one that does comes last."""
    database, batch_id = large
    last = _stored(database)[-1].id
    for state, flag in itertools.product(STATES, FLAGS):
        flags = "silent" if flag == Flag.SILENT else flag and f"silent {flag}"
        _set_rows(database, [{"job": last, "s": (state or State.DONE).value, "f": flags}])
        for after in (0, last - 50):
            asked = {"batch_id": batch_id if in_batch else None, "state": state, "flag": flag, "after": after}
            with _watched(database) as work:
                found = list(list_jobs(database, **asked, limit=100))
            assert len(found) == 100 or last in {row.id for row in found}
            if database.is_postgresql:
                assert _most_rows_read(database, work) < ROWS_READ, asked
            else:
                assert not _scans_all_jobs(database, work), asked
                assert work.steps < STEPS, asked


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_page_of_rated_jobs_reads_little_more_than_itself(large: tuple[Database, str], in_batch: bool) -> None:
    database, batch_id = large
    with database.transaction() as connection:
        connection.execute(update(jobs).values(rating=1 + jobs.c.id % 5))
    with _watched(database) as work:
        asked = batch_id if in_batch else None
        page = filtered_page(database, batch_id=asked, conditions=parse(["rating>=4"]), limit=100)
    assert [row["rating"] for row in page.rows[:4]] == [4, 5, 4, 5]
    if database.is_postgresql:
        assert _most_rows_read(database, work) < ROWS_READ
    else:
        assert not _scans_all_jobs(database, work)


def test_what_is_left_counts_open_batches_and_no_paused_ones(database: Database) -> None:
    ids = [submit(database, 2) for _ in range(9)]
    with database.transaction() as connection:
        connection.execute(update(batches).where(batches.c.id == ids[0]).values(paused_at=now()))
        connection.execute(update(batches).where(batches.c.id == ids[1]).values(pruned_at=now()))
    assert all_left(database) == {"jobs_left": 14, "jobs_per_second": None, "eta_s": None}
