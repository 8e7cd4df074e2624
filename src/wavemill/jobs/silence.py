"""A connection to PostgreSQL that notices a server that has fallen silent.

Keepalives and `tcp_user_timeout` notice a host that is gone. They notice nothing where something between still
acknowledges what we send: a load balancer, a proxy, a server whose process is stopped. So psycopg's waiting is watched.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from wavemill.jobs.patience import limit_s

T = TypeVar("T")


class ListeningConnection(psycopg.Connection[Any]):
    """Raises OperationalError, and closes itself, when the server has said nothing for `silence_s`; None: never."""

    silence_s: float | None = None

    def wait(self, gen: PQGen[T], *arguments: Any, **keywords: Any) -> T:
        """Consume a generator of psycopg's, as long as something comes now and then."""
        limit = limit_s(self.silence_s)
        return super().wait(gen if limit is None else self._listening(gen, limit), *arguments, **keywords)

    def _listening(self, gen: PQGen[T], limit: float) -> PQGen[T]:
        """Pass on what psycopg's generator and its waiting say to each other, and look at the clock.

        The waiting looks up every tenth of a second, and says READY_NONE (0) when the socket has nothing.
        """
        heard_at = monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = monotonic()
                elif monotonic() - heard_at > limit:
                    gen.close()
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has said nothing for {limit:g} s")
                wanted = gen.send(ready)
        except StopIteration as finished:
            value: T = finished.value
            return value
