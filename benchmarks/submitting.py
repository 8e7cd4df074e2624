"""Submitting IDs against the raw bulk load of the same columns: `executemany` on SQLite, COPY on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import psycopg
from sqlalchemy import make_url

from benchmarks.plan import Plan
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import databases, producer_only
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill_producer.producer import Producer

_COLUMNS = "batch_id, seq, spectrogram_id, item, max_attempts, created_at"
_batches = count()


def measure(plan: Plan) -> list[Row]:
    """IDs a second from an iterator into table and broker, on each kind of table."""
    with databases(plan.work / "submitted") as urls:
        return [_measure_one(plan, name, url) for name, url in urls.items()]


def _measure_one(plan: Plan, name: str, url: str) -> Row:
    n, dataset = plan.sizes.submitted, plan.dataset(4)
    load = _executemany if name == "SQLite" else _copy
    with producer_only(plan.settings(f"submit-{name}", database_url=url)) as producer:

        def submit() -> None:
            ids = (f"speech/clip-{k}" for k in range(n))
            producer.reconstruct(ids, dataset=dataset, model=plan.model, output=plan.work / "out", check_ids=False)

        seconds = medians_s(
            {f"submit, {name}": submit, f"raw load, {name}": lambda: load(producer, url, n)}, plan.sizes.rounds
        )
    return Row.of_rates(
        f"submit {n:,} IDs, {name}",
        n / seconds[f"submit, {name}"],
        "IDs/s",
        "raw executemany, same columns" if name == "SQLite" else "raw COPY, same columns",
        n / seconds[f"raw load, {name}"],
        goal="0.4 x",
        remark="with the messages sent",
    )


def _rows(producer: Producer, n: int, created_at: object) -> Iterator[tuple[object, ...]]:
    """Yield a batch's rows; the batch itself is written first."""
    batch_id = _empty_batch(producer)
    return ((batch_id, k, f"speech/clip-{k}", None, 3, created_at) for k in range(1, n + 1))


def _empty_batch(producer: Producer) -> str:
    request = BatchRequest(
        operation="invert",
        dataset=None,
        model=None,
        model_digest=None,
        output=f"raw-{next(_batches)}",
        priority=4,
        chunk_size=64,
        max_attempts=3,
    )
    return write_batch(producer.database, request, [("placeholder", None)])[0]


def _executemany(producer: Producer, url: str, n: int) -> None:
    rows = _rows(producer, n, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")
    connection = sqlite3.connect(make_url(url).database)
    connection.execute("PRAGMA synchronous = FULL")
    with connection:
        connection.executemany(f"INSERT INTO jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def _copy(producer: Producer, url: str, n: int) -> None:
    rows = _rows(producer, n, datetime.now(UTC))
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with (
        psycopg.connect(plain) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY jobs ({_COLUMNS}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
