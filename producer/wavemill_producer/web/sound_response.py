"""Answers with a sound file: whole, in part, or "you have it already"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

from anyio import to_thread
from fastapi import Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from wavemill.jobs.queries import SoundPlace
from wavemill.operations.formats import MEDIA_TYPES
from wavemill.storage.reading import open_output

NO_CHANGE = 304
_PIECE = 2**17  # bytes
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def etag_of(place: SoundPlace, what: str = "") -> str:
    """Return the ETag of a sound, or of something that was made from it."""
    return '"' + "-".join([place.sha256 or "unknown", *what.split()]) + '"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the client says that it has this already."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in known.split(",")]


def caching(etag: str, *, is_pinned: bool) -> dict[str, str]:
    """Return the headers for caches. What was asked for by its digest never changes."""
    kept = "private, max-age=31536000, immutable" if is_pinned else "private, no-cache"
    return {"etag": etag, "cache-control": kept}


async def sound_response(request: Request, place: SoundPlace, *, is_pinned: bool) -> Response:
    """Return the answer to a request for a sound."""
    etag = etag_of(place)
    headers = {**caching(etag, is_pinned=is_pinned), "accept-ranges": "bytes"}
    if is_known(request, etag):
        return Response(status_code=NO_CHANGE, headers=headers)
    stack = ExitStack()
    opened = open_output(place.path, output=place.output, batch_id=place.batch_id)
    file, size = await to_thread.run_sync(stack.enter_context, opened)
    try:
        answer = _answer(request, etag, file, size, headers, stack)
    except BaseException:
        stack.close()
        raise
    suffix = place.path.rpartition(".")[2].lower()
    answer.headers["content-type"] = MEDIA_TYPES.get(suffix, "application/octet-stream")
    return answer


def _answer(
    request: Request, etag: str, file: IO[bytes], size: int, headers: dict[str, str], stack: ExitStack
) -> Response:
    first, last, status = 0, size - 1, 200
    asked = request.headers.get("range")
    if asked is not None and request.headers.get("if-range", etag) == etag and (found := _RANGE.fullmatch(asked)):
        stretch = _stretch(*found.groups(), size=size)
        if stretch is None:
            stack.close()
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
        first, last = stretch
        status, headers["content-range"] = 206, f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(last - first + 1)
    if request.method == "HEAD":
        stack.close()
        return Response(status_code=status, headers=headers)
    return StreamingResponse(iterate_in_threadpool(_pieces(stack, file, first, last)), status, headers)


def _stretch(first: str, last: str, *, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of a range; None if it holds no byte of the file."""
    if not first:
        begin, end = size - int(last or 0), size - 1  # the last so many bytes
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
    begin = max(0, begin)
    return (begin, end) if begin <= end else None


def _pieces(stack: ExitStack, file: IO[bytes], first: int, last: int) -> Iterator[bytes]:
    with stack:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece
