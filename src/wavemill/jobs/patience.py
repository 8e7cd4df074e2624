"""How long a thread waits for each database answer, where it needs a shorter limit than its `Database` has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_limit: ContextVar[tuple[float | None] | None] = ContextVar("limit", default=None)


@contextmanager
def answers_within(limit_s: float | None) -> Iterator[None]:
    """Limit the wait for each answer inside the block to `limit_s` seconds; None sets no limit."""
    token = _limit.set((limit_s,))
    try:
        yield
    finally:
        _limit.reset(token)


def limit_s(usual: float | None) -> float | None:
    """Return the limit in force: the shorter of `usual` and the one set by `answers_within`."""
    chosen = _limit.get()
    if chosen is None:
        return usual
    return chosen[0] if usual is None or chosen[0] is None else min(usual, chosen[0])


def day_if_none(limit: float | None) -> float:
    """Return the limit, or one day for None: some APIs cannot wait without a limit."""
    return 86_400.0 if limit is None else limit
