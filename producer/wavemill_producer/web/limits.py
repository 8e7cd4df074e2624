"""Limits of a request's body and speed: a huge body, a slow sender and a slow reader are each cut off."""

from __future__ import annotations

import asyncio
from time import monotonic

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

LARGEST_BODY = 2**20  # bytes
# What is larger for a path. JSON is read whole, so lists of many IDs are uploaded as a file.
_LARGER = {"/api/v1/batches": 2**23, "/api/v1/batches/upload": 2**27}
_BODY_S = 30.0  # a body must come in this long, plus a second for each 32 KB
_SLOWEST_BYTES_PER_S = 32_768
_STALLED_S = 60.0  # a reader that takes nothing for this long is cut off


def limited_receive(receive: Receive, scope: Scope, headers: Headers) -> Receive:
    """Return a `receive` that raises HTTPException when the body is too large or comes too slowly."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    most = _LARGER.get(path, LARGEST_BODY)
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > most:
        raise _too_large(most)
    begun, size = monotonic(), 0
    is_complete = announced == "0" and "transfer-encoding" not in headers

    async def limited() -> Message:
        nonlocal size, is_complete
        if is_complete:  # waits for the end of the connection, as long answers do
            return await receive()
        left_s = begun + _BODY_S + size / _SLOWEST_BYTES_PER_S - monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, left_s))
        except TimeoutError:
            raise HTTPException(408, "the request's body came too slowly") from None
        size += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if size > most:
            raise _too_large(most)
        return message

    return limited


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the request's body is too large: expected at most {most:,} bytes")


def limited_send(send: Send) -> Send:
    """Return a `send` that ends the answer of a client that does not read it."""

    async def limited(message: Message) -> None:
        try:
            await asyncio.wait_for(send(message), _STALLED_S)
        except TimeoutError:
            raise OSError("the client stopped reading") from None  # ends the answer; the connection is closed

    return limited
