from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from support.batches import Outgoing, audit, chunk_ranges, count_rows, job_rows, new_jobs, request, submit

from wavemill.errors import InvalidIdError, UsageError
from wavemill.identifiers import validate_id
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.queries import batch_status
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.submit import write_batch
from wavemill.jobs.workers import beat, register_worker
from wavemill.settings import Settings
from wavemill_producer import Producer


def test_a_batch_has_one_row_for_each_id_in_order_and_one_chunk_for_each_message(database: Database) -> None:
    ids = ["b/2", "a", "ключ/звук", 'quote"\t\\ tab'[:5], "x" * 200]
    batch_id, total = write_batch(database, request(chunk_size=2, max_attempts=7), new_jobs(ids))
    rows = job_rows(database, batch_id)
    assert total == len(ids)
    assert [(row.seq, row.spectrogram_id) for row in rows] == list(enumerate(ids))
    assert {(row.state, row.attempt, row.max_attempts) for row in rows} == {("queued", 0, 7)}
    assert chunk_ranges(database, batch_id) == [(0, 1), (2, 3), (4, 4)]
    status = batch_status(database, batch_id)
    assert (status["total"], status["counts"]["queued"], status["state"]) == (5, 5, "queued")
    audit(database, batch_id)


def test_a_batch_larger_than_a_page_is_numbered_through(database: Database) -> None:
    seen: list[int] = []
    ids = (f"speaker-{i % 7}/clip {i}" for i in range(25_003))
    batch_id, total = write_batch(database, request(chunk_size=64), new_jobs(ids), progress=seen.append)
    assert (total, seen) == (25_003, [10_000, 20_000, 25_003])
    rows = job_rows(database, batch_id)
    assert [row.seq for row in rows] == list(range(25_003))
    assert rows[-1].spectrogram_id == f"speaker-{25_002 % 7}/clip 25002"
    assert rows[0].created_at == rows[-1].created_at
    assert len(chunk_ranges(database, batch_id)) == 391
    assert chunk_ranges(database, batch_id)[-1] == (24_960, 25_002)


def test_ids_with_every_character_that_copy_must_escape_arrive_unchanged(database: Database) -> None:
    ids = ["a\\b", "tab\there", "line\nfeed", "\\N", "", 'say "x"', "ünï", "\U0001f50a"]
    batch_id, _ = write_batch(database, request(), new_jobs(ids))
    assert [row.spectrogram_id for row in job_rows(database, batch_id)] == ids


def test_a_batch_of_nothing_is_refused_and_leaves_no_row(database: Database) -> None:
    with pytest.raises(UsageError, match="no IDs"):
        write_batch(database, request(), [])
    assert (count_rows(database, batches), count_rows(database, chunks)) == (0, 0)


def test_ids_that_end_in_an_error_leave_no_row(database: Database) -> None:
    def ids() -> Iterator[str]:
        yield from (f"ok/{i}" for i in range(10_500))
        validate_id("../../etc/passwd")

    with pytest.raises(InvalidIdError):
        write_batch(database, request(), new_jobs(ids()))
    assert [count_rows(database, table) for table in (batches, jobs, chunks)] == [0, 0, 0]


def test_nothing_is_seen_or_sent_before_the_batch_is_whole(database: Database) -> None:
    observer = Database(database.url.render_as_string(hide_password=False))
    outgoing = Outgoing()
    seen: list[int] = []

    def look(_: int) -> None:
        seen.append(count_rows(observer, jobs) + count_rows(observer, batches) + count_rows(observer, chunks))

    batch_id, _ = write_batch(database, request(), new_jobs(f"{i}" for i in range(10_001)), progress=look)
    assert seen == [0, 0]
    publish_due(observer, outgoing, batch_id=batch_id)
    assert len(outgoing.messages) == 2_501
    observer.close()


def test_a_slow_stream_of_ids_keeps_no_worker_from_its_heartbeat(database: Database) -> None:
    worker = Database(database.url.render_as_string(hide_password=False))
    register_worker(worker, "w1", host="h", pid=1, device="cpu")

    def ids() -> Iterator[str]:
        for i in range(3):
            beat(worker, "w1", jobs_done=i, jobs_per_second=None)
            yield f"{i}"

    _, total = write_batch(database, request(), new_jobs(ids()))
    assert total == 3
    worker.close()


def test_two_batches_of_the_same_second_have_different_ids_that_are_safe_as_folders(database: Database) -> None:
    first, second = submit(database, 1), submit(database, 1)
    assert first != second
    assert validate_id(first) == first
    with database.reading() as connection:
        stored = connection.execute(select(batches.c.params, batches.c.model_digest)).first()
    assert stored is not None
    assert (stored.params, stored.model_digest) == ({"method": "pghi+gl"}, "0" * 64)


def test_a_table_that_goes_away_after_the_commit_is_no_error_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer(Settings(home=tmp_path, broker_url="redis://127.0.0.1:1/0")) as producer:
        batch_id = submit(producer.database, 4)
        producer.database.close()
        producer.database = Database("postgresql+psycopg://127.0.0.1:1/gone")
        producer.announce(batch_id)
    assert f"Batch {batch_id} was committed before" in caplog.text
