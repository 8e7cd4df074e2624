"""Tells listeners what changes in the table. One poller per process asks, however many listen.

Each second it reads, in one query, the open batches, those that ended lately and those that
somebody watches; every few seconds also the workers. It publishes what differs from the last time.

The events are:

- `resync`: read everything again. It comes first on every connection, after a listener was too slow, and after the
  table was away;
- `batch`: the status of a batch that has changed, as `GET /batches/{id}` returns it;
- `workers`: the living workers, when they change;
- `table`: `{"answers": false, "error": ...}` when the table is away, `{"answers": true}` when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from anyio import to_thread

from wavemill.errors import DatabaseUnavailableError, TransientError
from wavemill.jobs import queries
from wavemill_producer.producer import Producer
from wavemill_producer.web.access import RefusedError
from wavemill_producer.web.keyring import Keyring

logger = logging.getLogger(__name__)

POLL_S = 1.0
_WORKERS_S = 5.0
_WAITING = 200  # events that a slow listener may lag behind
_MOST_LISTENERS = 2_000


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event; `batch_id` is the batch that it is about, None for all."""

    kind: str
    data: Any
    batch_id: str | None = None


_RESYNC = Event(kind="resync", data={})


@dataclass(eq=False)
class _Listener:
    batch_id: str | None
    token_sha256: str | None
    events: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))

    def put(self, event: Event | None) -> None:
        """Add an event; if the listener lags too far behind, replace all that wait by one `resync`."""
        if self.events.full():
            while not self.events.empty():
                self.events.get_nowait()
            event = event and _RESYNC
        self.events.put_nowait(event)


class Feed:
    """The poller and its listeners. It polls only while somebody listens."""

    def __init__(self, producer: Producer, keyring: Keyring) -> None:
        self._producer = producer
        self._keyring = keyring
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._statuses: dict[str, dict[str, Any]] | None = None  # None until they are read
        self._workers: list[dict[str, Any]] = []
        self._workers_read_at = 0.0
        self._outage: str | None = None
        self.version = 0  # rises with whatever is published

    @property
    def outage(self) -> str | None:
        """Why the table cannot be read at the moment; None while it can."""
        return self._outage

    def require_room(self) -> None:
        """Raise RefusedError if too many listen already."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise RefusedError(503, f"{_MOST_LISTENERS} pages listen already: close some")

    async def listen(self, batch_id: str | None = None, *, token_sha256: str | None = None) -> AsyncIterator[Event]:
        """Yield events, of one batch or of all, until the server stops or the listener's token ends."""
        listener = _Listener(batch_id, token_sha256)
        listener.put(_RESYNC)
        if self._outage is not None:
            listener.put(_away(self._outage))
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            while (event := await listener.events.get()) is not None:
                yield event
        finally:
            self._listeners.discard(listener)

    async def close(self) -> None:
        """End all listeners and the poller."""
        for listener in self._listeners:
            listener.put(None)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _poll(self) -> None:
        while self._listeners:
            begun = monotonic()
            try:
                await self._dismiss()
                await self._step()
            except TransientError as exc:
                self._note_outage(exc)
            except Exception:
                logger.exception("the events could not be read; trying again")
            await asyncio.sleep(max(0.1, begun + POLL_S - monotonic()))
        self._statuses = None

    async def _dismiss(self) -> None:
        """End the listeners whose token has been revoked or has expired."""
        holders, is_open = await self._keyring.living()
        for listener in self._listeners:
            if not (is_open if listener.token_sha256 is None else listener.token_sha256 in holders):
                listener.put(None)

    async def _step(self) -> None:
        watched = [batch_id for batch_id, _ in Counter(one.batch_id for one in self._listeners).most_common()]
        statuses = await to_thread.run_sync(self._read_statuses, [ID for ID in watched if ID is not None])
        before, was_away = self._statuses, self._outage is not None
        if was_away:
            self._outage = None
            self._publish([Event(kind="table", data={"answers": True}), _RESYNC])
        self._statuses = statuses
        if before is not None and not was_away:
            changed = [status for ID, status in statuses.items() if _content(before.get(ID)) != _content(status)]
            self._publish(Event(kind="batch", data=status, batch_id=status["id"]) for status in changed)
        await self._read_workers()

    def _read_statuses(self, watched: list[str]) -> dict[str, dict[str, Any]]:
        return {status["id"]: status for status in queries.lively_batches(self._producer.database, watched=watched)}

    async def _read_workers(self) -> None:
        if monotonic() - self._workers_read_at < _WORKERS_S:
            return
        workers = [dict(row) for row in await to_thread.run_sync(self._producer.workers)]
        self._workers_read_at = monotonic()
        if _without_beats(workers) != _without_beats(self._workers):
            self._publish([Event(kind="workers", data=workers)])
        self._workers = workers

    def _note_outage(self, exc: TransientError) -> None:
        if self._outage is None:
            self._outage = str(exc)
            self._publish([_away(self._outage)])
            if not isinstance(exc, DatabaseUnavailableError):
                logger.warning("the events could not be read: %s", exc)

    def _publish(self, events: Iterable[Event]) -> None:
        for event in events:
            self.version += 1
            for listener in self._listeners:
                if event.batch_id is None or listener.batch_id in {None, event.batch_id}:
                    listener.put(event)


def _away(error: str) -> Event:
    return Event(kind="table", data={"answers": False, "error": error})


def _content(status: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what must differ for an event: the time left alone changes each second."""
    return status and {key: value for key, value in status.items() if key not in {"eta_s", "jobs_per_second"}}


def _without_beats(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "heartbeat_at"} for row in workers]
