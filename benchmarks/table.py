"""A table of a million jobs: its status, a page of it, and its cancel; each against the plain statement for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select, text

from benchmarks.plan import Plan
from benchmarks.progress import tell
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import databases, producer_only
from wavemill.jobs.schema import jobs
from wavemill_producer.batch import Batch
from wavemill_producer.producer import Producer

_PAGE = 100


def measure(plan: Plan) -> list[Row]:
    """Times on each kind of table."""
    with databases(plan.work / "tables") as urls:
        return [row for name, url in urls.items() for row in _measure_one(plan, name, url)]


def _measure_one(plan: Plan, name: str, url: str) -> list[Row]:
    n, dataset = plan.sizes.table_rows, plan.dataset(4)
    with producer_only(plan.settings(f"table-{name}", database_url=url)) as producer:
        tell(f"submitting {n:,} jobs, {name}")
        batch = producer.reconstruct(
            (f"speech/clip-{k}" for k in range(n)),
            dataset=dataset,
            model=plan.model,
            output=plan.work / "out",
            check_ids=False,
        )
        return [
            *_questions(plan, producer, batch, f"{n:,} jobs, {name}"),
            _cancel(producer, batch, f"{n:,} jobs, {name}"),
        ]


def _questions(plan: Plan, producer: Producer, batch: Batch, what: str) -> list[Row]:
    first = next(batch.jobs(limit=1)).id
    middle = first + plan.sizes.table_rows // 2

    def query(statement: Select[Any]) -> None:
        with producer.database.reading() as connection:
            connection.execute(statement).all()

    of_batch = jobs.c.batch_id == batch.id
    counted = select(jobs.c.state, func.count()).where(of_batch).group_by(jobs.c.state)
    offset = select(jobs).where(of_batch).order_by(jobs.c.id).limit(_PAGE).offset(middle - first)
    seconds = medians_s(
        {
            "status": batch.status,
            "counting": lambda: query(counted),
            "page": lambda: list(batch.jobs(after=middle, limit=_PAGE)),
            "OFFSET": lambda: query(offset),
        },
        max(plan.sizes.rounds, 3),
    )
    return [
        Row.of_times(
            f"status, {what}", seconds["status"], "counting the rows", seconds["counting"], goal="under 10 ms"
        ),
        Row.of_times(
            f"a page of {_PAGE} from the middle, {what}",
            seconds["page"],
            "the same with OFFSET",
            seconds["OFFSET"],
            goal="under 20 ms",
        ),
    ]


def _cancel(producer: Producer, batch: Batch, what: str) -> Row:
    once = {"cancel": batch.cancel, "plain UPDATE": lambda: _update_all(producer, batch.id)}
    seconds = medians_s(once, 1, warm_up=False)
    return Row.of_times(
        f"cancel, {what}", seconds["cancel"], "UPDATE of every row's state", seconds["plain UPDATE"], goal="under 3 s"
    )


def _update_all(producer: Producer, batch_id: str) -> None:
    statement = text("UPDATE jobs SET state = 'failed' WHERE batch_id = :batch_id")
    with producer.database.transaction() as connection:
        connection.execute(statement, {"batch_id": batch_id})
