"""Messages in and out of the broker, through a Celery app that either side hands in; the core imports no Celery."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from kombu import Connection
from kombu.exceptions import OperationalError

from wavemill import contract
from wavemill.errors import BrokerUnavailableError
from wavemill.jobs.outbox import ChunkMessage, Send
from wavemill.secrets_in_urls import without_secrets


def sender(app: Any) -> Send:
    """Return the function that hands chunk messages to the Celery app's broker, pipelined."""

    def send(messages: Sequence[ChunkMessage]) -> None:
        with (
            _connected(app.connection_for_write) as connection,
            app.amqp.Producer(connection) as producer,
            producer.batch(),
        ):
            # What `send_task` does besides (routers, settings looked up anew for each) takes more than half the time.
            queue = app.amqp.queues[contract.QUEUE]
            for i, message in enumerate(messages):
                args = (message.batch_id, message.first, message.last)
                task = app.amqp.as_task_v2(
                    str(uuid4()),
                    contract.RENDER_CHUNK,
                    args=args,
                    kwargs={},
                    argsrepr=repr(args),
                    kwargsrepr="{}",
                    ignore_result=True,
                )
                producer.publish(
                    task.body,
                    exchange="",
                    routing_key=contract.QUEUE,
                    headers=task.headers,
                    serializer="json",
                    priority=contract.wire_priority(message.priority),
                    declare=[queue] if i == 0 else (),  # once a connection
                    retry=False,
                    **task.properties,
                )

    return send


def waiting_chunks(app: Any) -> set[tuple[str, int, int]]:
    """Return (batch_id, first, last) of every message that waits in the broker; those in a worker's hands are not."""
    with _connected(app.connection_for_read) as connection:
        channel = connection.default_channel
        keys = [channel._q_for_pri(contract.QUEUE, priority) for priority in channel.priority_steps]
        raws = (raw for key in keys for raw in channel.client.lrange(key, 0, -1))
        return {chunk for raw in raws if (chunk := _chunk(raw)) is not None}


def is_my_turn(app: Any, what: str, *, period_s: float) -> bool:
    """Whether nobody else has asked for this turn within `period_s`; whoever got it may die, and the next is near."""
    with _connected(app.connection_for_write) as connection:
        client = connection.default_channel.client
        return bool(client.set(f"{contract.QUEUE}:turn:{what}", 1, nx=True, px=max(1, int(1_000 * period_s))))


def ping(app: Any) -> None:
    """Raise BrokerUnavailableError unless the broker answers."""
    with _connected(app.connection_for_read):
        pass


def _chunk(raw: bytes) -> tuple[str, int, int] | None:
    """Return what a message names; None for one that is not ours, which must not keep ours from being looked at."""
    try:
        (batch_id, first, last), _kwargs, _embed = json.loads(base64.b64decode(json.loads(raw)["body"]))
    except (ValueError, TypeError, LookupError):
        return None
    return batch_id, first, last


@contextmanager
def _connected(connect: Callable[[], Connection]) -> Iterator[Connection]:
    connection = connect()
    try:
        # Asked first and once: a channel that is opened without it would go on trying for ever.
        connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=5)
        yield connection
    except (OperationalError, OSError, *connection.connection_errors, *connection.channel_errors) as exc:
        raise BrokerUnavailableError(
            f"the broker {without_secrets(connection.as_uri())} does not take messages ({exc}); start it "
            "(`wavemill up` starts the embedded one) or check WAVEMILL_BROKER_URL"
        ) from exc
    finally:
        connection.release()
