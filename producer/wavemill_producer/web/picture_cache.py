"""Keeps pictures of sounds on disk, by the digest of the sound, and draws a few at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from anyio import CapacityLimiter, to_thread

_MOST_BYTES = 2**29  # on disk; the oldest go first
_DRAWN_AT_ONCE = 2  # pictures; others wait, so that a page full of them leaves the server room to answer
_WRITES_PER_TIDYING = 500


class PictureCache:
    """A folder of drawn pictures. It may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writes = 0
        self._limiter: CapacityLimiter | None = None

    async def get(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return what is kept under a key; draw and keep it if there is nothing.

        The key names the sound's digest and everything else that the picture depends on.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        path = self._folder / name[:2] / name
        if (found := await to_thread.run_sync(_read, path)) is not None:
            return found
        if self._limiter is None:  # it belongs to the running event loop
            self._limiter = CapacityLimiter(_DRAWN_AT_ONCE)
        return await to_thread.run_sync(self._draw, path, draw, limiter=self._limiter)

    def _draw(self, path: Path, draw: Callable[[], bytes]) -> bytes:
        if (found := _read(path)) is not None:  # drawn while this request waited
            return found
        data = draw()
        with suppress(OSError):  # a full disk costs the cache, not the picture
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            aside.write_bytes(data)
            aside.replace(path)
        self._writes += 1
        if self._writes % _WRITES_PER_TIDYING == 1:
            tidy(self._folder, most_bytes=_MOST_BYTES)
        return data


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):
        os.utime(path)  # the time of the last use decides what goes first
    return data


def tidy(folder: Path, *, most_bytes: int) -> None:
    """Delete the pictures that were used longest ago, until the folder holds at most `most_bytes`."""
    with suppress(OSError):
        found = [(about.st_mtime, about.st_size, path) for path in folder.glob("*/*") for about in [path.stat()]]
        too_much = sum(size for _, size, _ in found) - most_bytes
        for _, size, path in sorted(found):
            if too_much <= 0:
                return
            path.unlink(missing_ok=True)
            too_much -= size
