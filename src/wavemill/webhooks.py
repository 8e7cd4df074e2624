"""Webhooks: the signed calls that tell another program that a batch has ended."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wavemill.errors import NotFoundError, TransientError
from wavemill.jobs import deliveries, queries
from wavemill.jobs.database import Database
from wavemill.jobs.deliveries import Delivery
from wavemill.text.secrets_in_urls import places_without_secrets
from wavemill.text.shown import json_text
from wavemill.webhook_signing import signature, webhook_key

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

_LATELY_S = 3_600.0  # between the end of a batch and the commit that shows it, at most
_AT_ONCE = 8  # calls
_PAGE = 32  # deliveries claimed at a time: with the timeout, they end before their claim does
_TIMEOUT_S = 10.0  # for a whole call: a receiver that sends its answer slowly is cut off
_POLL_S = 2.0


def start_calling(database: Database, secret: str, stop: threading.Event) -> None:
    """Make calls in a thread until `stop` is set; without a secret, make none."""
    if secret:
        calls = Webhooks(database, secret)
        threading.Thread(target=calls.run, args=(stop,), name="webhooks", daemon=True).start()


class Webhooks:
    """Makes the calls that are due. Any number of processes may do so; each call is claimed by one."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._key = webhook_key(secret)
        self._noted_at: float | None = None  # when ended batches were last looked for; the first step looks at all

    def run(self, stop: threading.Event) -> None:
        """Make calls until `stop` is set, and go on after errors."""
        said = None
        while not stop.is_set():
            try:
                self.step()
                said = None
            except Exception as exc:
                if str(exc) != said and not stop.is_set():
                    logger.warning("webhooks: %s", exc, exc_info=not isinstance(exc, TransientError))
                said = str(exc)
            stop.wait(_POLL_S)

    def step(self) -> int:
        """Make the calls that are due now; return how many were made. Raises DatabaseUnavailableError."""
        begun_at = time.time()
        since_s = None if self._noted_at is None else begun_at - self._noted_at + _LATELY_S
        deliveries.note_ended(self._database, within_s=since_s)
        self._noted_at = begun_at
        due = deliveries.claim_due(self._database, limit=_PAGE)
        if due:
            bodies = [self._body(delivery) for delivery in due]
            for delivery, error in zip(due, asyncio.run(self._call(due, bodies)), strict=True):
                deliveries.settle(self._database, delivery, error)
        return len(due)

    async def _call(self, due: Sequence[Delivery], bodies: Sequence[bytes | None]) -> list[str | None]:
        """Make calls, a few at once; return why each failed, or None."""
        import httpx

        at_once = asyncio.Semaphore(_AT_ONCE)

        async def call(delivery: Delivery, body: bytes | None) -> str | None:
            async with at_once:
                return "the batch is gone" if body is None else await self._error_of(client, delivery, body)

        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            return await asyncio.gather(*map(call, due, bodies))

    async def _error_of(self, client: httpx.AsyncClient, delivery: Delivery, body: bytes) -> str | None:
        """Make a call; return why it failed, or None."""
        import httpx

        message_id, sent_at = f"{delivery.batch_id}-{delivery.id}", int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": signature(self._key, message_id, sent_at, body),
        }
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                client.stream("POST", delivery.url, content=body, headers=headers) as answer,  # its body is not read
            ):
                error = None if answer.is_success else f"the receiver answered {answer.status_code}"
        except TimeoutError:
            error = f"the receiver did not answer within {_TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            error = f"{type(exc).__name__}: {exc}"
        if error is not None:
            logger.warning("webhook of batch %s, attempt %d: %s", delivery.batch_id, delivery.attempts, error)
        return error

    def _body(self, delivery: Delivery) -> bytes | None:
        """Return what a call says; None if the batch is gone."""
        try:
            content = places_without_secrets(self._content(delivery))
        except NotFoundError:
            return None
        return json_text(content, default=dt.datetime.isoformat, allow_nan=False).encode()

    def _content(self, delivery: Delivery) -> dict[str, Any]:
        """Return what a call says: the batch's status as `GET /api/v1/batches/{id}` returns it."""
        return {
            "type": "batch.finished",
            "timestamp": delivery.finished_at.isoformat(),
            "data": queries.batch_status(self._database, delivery.batch_id),
        }
