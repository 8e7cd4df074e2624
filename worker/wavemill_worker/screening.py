"""Screens the broker's messages: Celery sees only messages that this module has rewritten."""

from __future__ import annotations

import base64
import json
import logging
from time import monotonic
from uuid import uuid4

from wavemill import contract
from wavemill.errors import MessageError
from wavemill.messages import chunk_in

logger = logging.getLogger(__name__)

_MAX_LINES_A_MINUTE = 500  # some 100 KB


class Screen:
    """Rewrites each message so that Celery can process it safely, or drops it and logs one line."""

    def __init__(self) -> None:
        self._minute_began = monotonic()
        self._dropped = 0

    def clean(self, key: bytes, raw: bytes) -> bytes | None:
        """Return a new message that asks for the same chunk; None if `raw` asks for none."""
        try:
            return _written(*chunk_in(raw), priority=_priority_of(key))
        except MessageError as exc:
            self._say(exc)
            return None

    def _say(self, exc: MessageError) -> None:
        if monotonic() - self._minute_began >= 60:
            if (unsaid := self._dropped - _MAX_LINES_A_MINUTE) > 0:
                logger.warning("dropped %d more messages that wavemill did not send", unsaid)
            self._minute_began, self._dropped = monotonic(), 0
        self._dropped += 1
        if self._dropped <= _MAX_LINES_A_MINUTE:
            logger.warning("dropped a message that wavemill did not send: %s", exc)


def _priority_of(key: bytes) -> int:
    suffix = key.decode(errors="replace").removeprefix(contract.QUEUE).lstrip("\x06\x16")
    return int(suffix) if suffix.isdecimal() else 0


def _written(batch_id: str, first: int, last: int, *, priority: int) -> bytes:
    """Return a task message in Celery's protocol 2, with a new task ID."""
    arguments, task_id = [batch_id, first, last], str(uuid4())
    body = json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    headers = {
        "lang": "py",
        "task": contract.RENDER_CHUNK,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "argsrepr": repr(tuple(arguments)),
        "kwargsrepr": "{}",
        "ignore_result": True,
    }
    properties = {
        "correlation_id": task_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": contract.QUEUE},
        "priority": priority,
        "body_encoding": "base64",
        "delivery_tag": task_id,
    }
    message = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message).encode()
