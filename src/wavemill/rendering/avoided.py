"""Batches that a worker leaves alone for a while, because their storage does not answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from wavemill.errors import OutageError

logger = logging.getLogger(__name__)

_MAX_AVOIDED_S = 30.0
_FORGET_S = 600.0  # outages of batches that others have finished, or that were cancelled


@dataclass(kw_only=True)
class _Outage:
    count: int = 0  # chunks in a row that met it
    until: float = 0.0
    is_new: bool = True  # met by the current chunk


class AvoidedBatches:
    """The outages that one worker has met, by batch. Meanwhile it works on other batches."""

    def __init__(self) -> None:
        self._met: dict[str, _Outage] = {}
        self._lock = threading.Lock()  # the jobs of a chunk fail in several threads

    def ids(self) -> list[str]:
        """Return the IDs of batches that must not be claimed now."""
        with self._lock:
            clock = monotonic()
            for batch_id in [one for one, outage in self._met.items() if outage.until + _FORGET_S < clock]:
                del self._met[batch_id]
            return [batch_id for batch_id, outage in self._met.items() if outage.until > clock]

    @property
    def pause_s(self) -> float:
        """Seconds until the first avoided batch may be tried again; 0 if none is avoided."""
        clock = monotonic()
        return min((outage.until - clock for outage in list(self._met.values()) if outage.until > clock), default=0.0)

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[None]:
        """Work on a batch; an earlier outage of it is over if the work does not meet it again."""
        before = self._met.get(batch_id)
        if before is not None:
            before.is_new = False
        yield
        if before is not None and not before.is_new:
            logger.warning("batch %s: its storage answers again", batch_id)
            self._met.pop(batch_id, None)

    def add(self, batch_id: str, exc: OutageError, *, pause_s: Callable[[int], float]) -> int:
        """Note an outage; return how many chunks in a row met one before.

        A chunk may meet many outages, and counts once.
        """
        with self._lock:
            outage = self._met.setdefault(batch_id, _Outage(is_new=False))
            if not outage.is_new:
                if not outage.count:
                    logger.warning("batch %s: %s; waiting, and trying again every few seconds", batch_id, exc)
                outage.is_new = True
                outage.count += 1
                outage.until = monotonic() + min(pause_s(outage.count - 1), _MAX_AVOIDED_S)
            return outage.count - 1
