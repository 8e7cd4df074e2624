"""The living tokens, read from the table at most every two seconds however many requests come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from anyio import to_thread

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs import tokens
from wavemill.jobs.database import Database

_FRESH_S = 2.0  # a revoked token is refused after this long

Holders = dict[str, tokens.Holder]


class Keyring:
    """Looks up tokens. While the table is away, those that were alive before it went still count."""

    digest = staticmethod(tokens.digest)

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database
        self._found: tuple[Holders, bool] | None = None
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def living(self) -> tuple[Holders, bool]:
        """Return the living tokens' holders by digest, and whether no token was ever made."""
        async with self._lock:
            if self._found is None or monotonic() - self._read_at > _FRESH_S:
                try:
                    holders, was_made = await to_thread.run_sync(tokens.living_tokens, self._database())
                except DatabaseUnavailableError:
                    if self._found is None:
                        raise
                else:
                    self._found = holders, not was_made
                self._read_at = monotonic()
            return self._found

    def forget(self) -> None:
        """Read the table again at the next request, after a change of the tokens."""
        self._read_at = float("-inf")
