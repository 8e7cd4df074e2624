"""Send, list and count broker messages through the caller's Celery app; the core does not import Celery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from kombu import Connection
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from wavemill import contract
from wavemill.errors import BrokerUnavailableError, MessageError, SettingsError
from wavemill.jobs.outbox import ChunkMessage, Send
from wavemill.messages import Chunk, chunk_in
from wavemill.text.secrets_in_urls import without_secrets

_PAGE = 1_000
_START_EMBEDDED = (
    "no broker runs for this folder: run `wavemill up` here, or work in the folder in which it runs, or set "
    "WAVEMILL_HOME to that folder's .wavemill"
)


def sender(app: Any) -> Send:
    """Return the function that hands chunk messages to the Celery app's broker, pipelined."""

    def send(messages: Sequence[ChunkMessage]) -> None:
        with (
            _connected(app.connection_for_write, app) as connection,
            app.amqp.Producer(connection) as producer,
            producer.batch(),
        ):
            # `send_task` would also run routers and look up settings, more than half of its time.
            for message in messages:
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
                    retry=False,
                    **task.properties,
                )

    return send


def waiting_chunks(app: Any) -> set[Chunk]:
    """Return (batch_id, first, last) of every message waiting in the broker, without those that workers hold."""
    with _connected(app.connection_for_read, app) as connection:
        client = connection.default_channel.client
        raws = (raw for key in contract.queue_keys() for raw in _listed(client, key))
        return {chunk for raw in raws if (chunk := _chunk(raw)) is not None}


def _listed(client: Redis, key: str) -> Iterator[bytes | str]:
    """Yield a list's messages, page by page. Concurrent pushes can repeat a message, but none is missed."""
    start = 0
    while page := client.lrange(key, start, start + _PAGE - 1):
        yield from page
        start += _PAGE


def message_count(app: Any) -> int:
    """Return how many messages wait in the broker, including foreign ones."""
    with (
        _connected(app.connection_for_read, app) as connection,
        connection.default_channel.client.pipeline() as pipeline,
    ):
        for key in contract.queue_keys():
            pipeline.llen(key)
        return sum(pipeline.execute())


def ping(app: Any) -> None:
    """Raise BrokerUnavailableError unless the broker answers."""
    with _connected(app.connection_for_read, app):
        pass


def _chunk(raw: bytes | str) -> Chunk | None:
    """Return the chunk that a message names; None for a foreign message, which is skipped."""
    try:
        return chunk_in(raw)
    except MessageError:
        return None


@contextmanager
def _connected(connect: Callable[[str], Connection], app: Any) -> Iterator[Connection]:
    url = app.conf["broker_url"]  # `app.conf.broker_url` would be CELERY_BROKER_URL
    connection = _made(connect, url)
    try:
        _open(connection)
        yield connection
    except (KombuError, RedisError, OSError) as exc:
        raise BrokerUnavailableError(
            f"the broker {without_secrets(connection.as_uri())} does not take messages ({_said(exc)}); "
            + (_START_EMBEDDED if url.startswith("redis+socket:") else "start it, or check WAVEMILL_BROKER_URL")
        ) from exc
    finally:
        connection.release()


def _made(connect: Callable[[str], Connection], url: str) -> Connection:
    try:
        return connect(url)
    except (TypeError, ValueError) as exc:
        raise _unreadable(exc) from exc


def _open(connection: Connection) -> None:
    try:
        # Connect first, with few retries: opening a channel would otherwise retry for ever.
        connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=contract.SOCKET_TIMEOUT_S)
    except ValueError as exc:  # the URL is incomplete
        raise _unreadable(exc) from exc


def _unreadable(exc: Exception) -> SettingsError:
    return SettingsError(
        f"WAVEMILL_BROKER_URL cannot be used ({exc}); expected redis:// or rediss://, user and password before the "
        "host, percent-encoded, and nothing in the query"
    )


def _said(exc: BaseException) -> str:
    """Return the server's own error where kombu wraps it in a general one."""
    return str(exc.__cause__ or exc)
