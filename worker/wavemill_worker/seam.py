"""Changes how kombu and Celery receive messages, wait for a broker and lose child processes.

Of the worker, only this module uses their internals; `INTERNALS` lists those that classes have. It
is written against kombu and Celery 5.7, and `pyproject.toml` admits no other version. If another one
is installed all the same, none of the changes is made and a worker is plain Celery: it works as long
as wavemill sent every message, and the broker either answers or is gone. The jobs of a child that
dies are then taken back when their lease ends. (`wavemill.transport`, which sends messages and looks
at waiting ones, uses Celery's AMQP layer and kombu's Redis client in any version.)
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import celery
import kombu
from billiard.process import active_children
from celery import Celery
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from celery.worker.state import maybe_shutdown
from kombu.transport import redis as transport
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from wavemill_worker import beats
from wavemill_worker.screening import Screen

logger = logging.getLogger(__name__)

_KNOWN_VERSION = (5, 7)
# What this module overrides, calls or reads of their undocumented classes, as module:name.
INTERNALS = (
    "kombu.transport.redis:Transport.Channel",
    "kombu.transport.redis:Channel.do_restore",
    "kombu.transport.redis:Channel._get_client",
    "kombu.transport.redis:Channel._queue_bind",
    "kombu.transport.redis:Channel._fanout_queues",
    "kombu.transport.redis:Channel.typeof",
    "kombu.transport.redis:Channel._brpop_start",
    "celery.worker.consumer:Consumer.register_with_event_loop",
    "celery.worker.consumer:Consumer.ensure_connected",
    "celery.worker.consumer:Consumer.first_connection_attempt",
    "celery.worker.consumer:Consumer.on_connection_error_after_connected",
    "celery.worker.consumer:Consumer.on_connection_error_before_connected",
    "celery.worker.state:maybe_shutdown",
    "celery.worker.control:Panel.data",
    "celery.worker.request:Request.worker_pid",
    "celery.app.task:Task.Request",
)
_PAUSE_S = 1.0  # before asking again a broker that refused, or whose connection was lost
_MAX_PAUSE_S = 2.0


def install(app: Celery, *, beat_name: str, on_death: Callable[[int], None]) -> None:
    """Make this process screen messages, wait for its broker, and beat in `beat_name`.

    From then on, `on_death` is called with the process ID of a child that died during a task. It
    must return at once.
    """
    if not (kombu.VERSION[:2] == celery.VERSION[:2] == _KNOWN_VERSION):
        logger.warning(
            "written for kombu and Celery %d.%d, found %s and %s: a damaged message may end this worker's process",
            *_KNOWN_VERSION,
            kombu.__version__,
            celery.__version__,
        )
        beats.beat_from_thread(beat_name)
        return
    transport.Transport.Channel = ScreenedChannel
    app.conf.worker_consumer = f"{__name__}:{PatientConsumer.__name__}"
    PatientConsumer.beat_name = beat_name
    WatchedRequest.on_death = staticmethod(on_death)
    app.Task.Request = WatchedRequest


class ScreenedRedis(Redis):
    """Screens the replies to BRPOP. Drops foreign messages; a refusal counts as an outage."""

    screen = Screen()
    refused_at = float("-inf")
    is_refused = False

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Return the reply, or None as if BRPOP had timed out."""
        if command_name != "BRPOP":
            return super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        try:
            reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        except ResponseError as exc:
            return self._refused(connection, exc)
        except RedisConnectionError:
            raise
        except RedisError as exc:  # malformed reply: nothing more on this connection can be trusted
            raise RedisConnectionError(f"{type(exc).__name__}: {exc}") from exc
        if self.is_refused:
            self.is_refused = False
            logger.warning("the broker hands out messages again")
        if not reply:
            return None
        key, raw = reply
        message = self.screen.clean(key, raw)
        return None if message is None else (key, message)

    def _refused(self, connection: Any, exc: ResponseError) -> None:
        """Disconnect from a server that is read-only, full or closed to us, and try again later.

        The next connection may reach a new server under the same name.
        """
        if not self.is_refused:
            logger.warning("the broker refuses to hand out messages (%s); waiting for it", exc)
        self.is_refused, self.refused_at = True, monotonic()
        connection.disconnect()


class ScreenedChannel(transport.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel whose client is a `ScreenedRedis`; for `redis://`, `rediss://` and sockets."""

    do_restore = False  # don't put messages back on exit: unfinished jobs are sent again from the table

    def _get_client(self) -> type[Redis]:
        super()._get_client()  # checks the version of redis-py
        return ScreenedRedis

    def _queue_bind(self, exchange: str, routing_key: str, _pattern: str, queue: str) -> None:
        """Record no binding: messages name the list itself, and a read-only server would refuse.

        A queue for broadcasts, which `celery inspect` sends, is subscribed to.
        """
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if monotonic() - self.client.refused_at >= _PAUSE_S:
            super()._brpop_start(timeout)


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Waits for a broker without logging each try, and beats each second while its loop runs."""

    beat_name = ""
    _is_waiting = False

    def register_with_event_loop(self, hub: Any) -> None:
        """Beat from the loop itself."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(beats.BEAT_S, beats.beat, self.beat_name)

    def ensure_connected(self, conn: Any) -> Any:
        """Try every 1 to 2 s until the broker answers; Celery's own pauses grow to 30 s."""
        self._beat_and_check_shutdown()
        conn.ensure_connection(
            self._note_failure,
            None,
            interval_start=_PAUSE_S,
            interval_step=_PAUSE_S,
            interval_max=_MAX_PAUSE_S,
            callback=self._beat_and_check_shutdown,
        )
        self.first_connection_attempt = False
        if self._is_waiting:
            logger.warning("the broker answers again")
            self._is_waiting = False
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection as Celery does, and then pause."""
        beats.beat(self.beat_name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about changes in Celery 6; `contract` sets these options for any version
            super().on_connection_error_after_connected(exc)
        beats.beat(self.beat_name)
        sleep(_PAUSE_S)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log the failure once, and pause."""
        self._note_failure(exc, _PAUSE_S)
        sleep(_PAUSE_S)

    def _note_failure(self, exc: Exception, _pause_s: float) -> None:
        if not self._is_waiting:
            logger.warning("the broker %s does not answer (%s); waiting for it", self.conninfo.as_uri(), exc)
            self._is_waiting = True

    def _beat_and_check_shutdown(self) -> None:
        beats.beat(self.beat_name)
        maybe_shutdown()


class WatchedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task whose failure may mean that its process died."""

    on_death: Callable[[int], None]

    def on_failure(self, *arguments: Any, **keywords: Any) -> None:
        """Report the process that took the task if it is gone."""
        super().on_failure(*arguments, **keywords)
        pid = self.worker_pid
        if pid is not None and pid not in [process.pid for process in active_children()]:
            self.on_death(pid)
