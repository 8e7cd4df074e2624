"""Parses a broker message into the chunk that it names. Its bytes are untrusted."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

from wavemill import contract
from wavemill.errors import MessageError

Chunk = tuple[str, int, int]  # a batch's ID, and its first and last job

_MAX_MESSAGE_BYTES = 100_000  # ours have about 1,000
_MAX_SHOWN = 80
_BATCH_ID = re.compile(r"[0-9A-Za-z_-]{1,40}")  # as wide as the table's column


def chunk_in(raw: bytes | str) -> Chunk:
    """Return the chunk that a message asks for; MessageError for anything that is not ours.

    Only the task's name and arguments are read. Whatever else Celery's headers ask for (a time
    limit, callbacks, compression, another serializer) is never decoded or obeyed.
    """
    if len(raw) > _MAX_MESSAGE_BYTES:
        raise MessageError(f"expected at most {_MAX_MESSAGE_BYTES} bytes, received {len(raw)}")
    try:
        message = json.loads(raw)
        name = message["headers"]["task"]
        if name != contract.RENDER_CHUNK:
            raise MessageError(f"expected the task {contract.RENDER_CHUNK}, received {_shown(name)}")
        arguments, keywords, _ = json.loads(base64.b64decode(message["body"], validate=True))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise MessageError(f"expected a task of Celery's in JSON ({type(exc).__name__})") from exc
    if keywords:
        raise MessageError(f"expected no keyword arguments, received {_shown(keywords)}")
    return checked_chunk(arguments)


def checked_chunk(arguments: Any) -> Chunk:
    """Return a task's arguments if they can be a chunk: a batch ID and a range within limits."""
    if not isinstance(arguments, Sequence) or isinstance(arguments, str) or len(arguments) != 3:
        raise MessageError(f"expected the arguments (batch ID, first, last), received {_shown(arguments)}")
    batch_id, first, last = arguments
    if not isinstance(batch_id, str) or not _BATCH_ID.fullmatch(batch_id):
        raise MessageError(f"expected a batch's ID, received {_shown(batch_id)}")
    if type(first) is not int or type(last) is not int:  # True is an int too
        raise MessageError(f"expected two whole numbers, received {_shown(first)} and {_shown(last)}")
    if not 0 <= first <= last <= contract.MAX_SEQ or last - first >= contract.MAX_JOBS_IN_CHUNK:
        raise MessageError(
            f"expected a range of at most {contract.MAX_JOBS_IN_CHUNK} jobs, received {_shown(first)} to {_shown(last)}"
        )
    return batch_id, first, last


def _shown(value: object) -> str:
    """Return a short text of printable ASCII, fit for one line of a log."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # a number with too many digits; lists nested too deep
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
