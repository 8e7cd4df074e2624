"""What many open pages ask for at once is read from the table once.

An event of the feed makes all pages of a batch ask for the same part in the same moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from wavemill_producer.web.feed import Feed

T = TypeVar("T")

_FRESH_S = 1.0
_MANY = 64  # values; with more, those that are too old to be used again are dropped


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = float("-inf")
    version: int = -1
    value: Any = None

    def is_wanted(self) -> bool:
        """Whether somebody reads it now, or may use it again."""
        return self.lock.locked() or monotonic() - self.read_at <= _FRESH_S


class Shared:
    """Values that are read again after a second, and after every event that the feed has published."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what `read` returns, or has just returned to another page for the same key."""
        with self._lock:
            if key not in self._entries and len(self._entries) >= _MANY:
                self._entries = {one: entry for one, entry in self._entries.items() if entry.is_wanted()}
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            version = self._feed.version  # taken before the table is read: a later event makes the value old
            if entry.version != version or monotonic() - entry.read_at > _FRESH_S:
                entry.value = read()
                entry.version, entry.read_at = version, monotonic()
            value: T = entry.value
            return value
