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

_LATELY_S = 3_600.0
_AT_ONCE = 8  # calls
_PAGE = 32  # deliveries claimed at a time: with the timeout, they end before their claim does
_TIMEOUT_S = 10.0  # for a whole call: a receiver that sends its answer slowly is cut off
_POLL_S = 2.0


class Webhooks:
    """Makes the calls that are due. Any number of processes may do so; each call is claimed by one."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._key = webhook_key(secret)
        self._within_s: float | None = None  # the first step looks at all batches

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
        deliveries.note_ended(self._database, within_s=self._within_s)
        self._within_s = _LATELY_S
        due = deliveries.claim_due(self._database, limit=_PAGE)
        if due:
            for delivery, error in zip(due, asyncio.run(self._errors_of(due)), strict=True):
                deliveries.settle(self._database, delivery, error)
        return len(due)

    async def _errors_of(self, due: Sequence[Delivery]) -> list[str | None]:
        import httpx

        at_once = asyncio.Semaphore(_AT_ONCE)
        async with httpx.AsyncClient(timeout=None, follow_redirects=False) as client:  # noqa: S113  `_error_of` limits the whole call

            async def called(delivery: Delivery) -> str | None:
                async with at_once:
                    return await self._error_of(client, delivery)

            return await asyncio.gather(*map(called, due))

    async def _error_of(self, client: httpx.AsyncClient, delivery: Delivery) -> str | None:
        """Make a call; return why it failed, or None."""
        import httpx

        try:
            content = places_without_secrets(await asyncio.to_thread(self._content, delivery))
            body = json_text(content, default=dt.datetime.isoformat, allow_nan=False).encode()
            message_id, sent_at = f"{delivery.batch_id}-{delivery.id}", int(time.time())
            headers = {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(sent_at),
                "webhook-signature": signature(self._key, message_id, sent_at, body),
            }
            post = client.stream("POST", delivery.url, content=body, headers=headers)
            async with asyncio.timeout(_TIMEOUT_S), post as answer:  # its body is not read
                error = None if answer.is_success else f"the receiver answered {answer.status_code}"
        except TimeoutError:
            error = f"the receiver did not answer within {_TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, NotFoundError, ValueError) as exc:
            error = f"{type(exc).__name__}: {exc}"
        if error is not None:
            logger.warning("webhook of batch %s, attempt %d: %s", delivery.batch_id, delivery.attempts, error)
        return error

    def _content(self, delivery: Delivery) -> dict[str, Any]:
        """Return what a call says: the batch's status as `GET /api/v1/batches/{id}` returns it."""
        return {
            "type": "batch.finished",
            "timestamp": delivery.finished_at.isoformat(),
            "data": queries.batch_status(self._database, delivery.batch_id),
        }
