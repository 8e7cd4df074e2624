"""How long a thread waits for each answer of a database, where it is not to be what its `Database` was made with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_limit: ContextVar[tuple[float | None] | None] = ContextVar("limit", default=None)


@contextmanager
def answers_within(limit_s: float | None) -> Iterator[None]:
    """Inside, wait no longer than `limit_s` for an answer, nor than outside; None: as long as it takes."""
    token = _limit.set((limit_s,))
    try:
        yield
    finally:
        _limit.reset(token)


def limit_s(usual: float | None) -> float | None:
    """Return the limit that holds here."""
    chosen = _limit.get()
    if chosen is None:
        return usual
    return chosen[0] if usual is None or chosen[0] is None else min(usual, chosen[0])


def or_a_day(limit: float | None) -> float:
    """Return the limit, and a day where there is none: for what cannot be told to wait for ever."""
    return 86_400.0 if limit is None else limit
