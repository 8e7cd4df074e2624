"""How a producer waits out an outage of the table: it warns once, retries, and continues."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from wavemill.errors import DatabaseUnavailableError, TableRevisionError
from wavemill.jobs.patience import answers_within

T = TypeVar("T")

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0  # enough for a server's restart, short for a user who waits for `wavemill status`
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_LEAST_ANSWER_S = 1.0


def repeat(action: Callable[[], T], *, for_s: float | None, by: float | None = None) -> T:
    """Call `action`, which must be safe to repeat, until the table answers.

    Parameters
    ----------
    for_s : float or None
        Seconds of outage after which its error is raised; None: never.
    by : float, optional
        `time.monotonic()` at which even an attempt under way ends.
    """
    begun, pause_s, is_away = monotonic(), _PAUSE_S, False
    while True:
        try:
            result = _once(action, by)
        except TableRevisionError:
            raise  # waiting does not help
        except DatabaseUnavailableError as exc:
            now = monotonic()
            if (for_s is not None and now - begun >= for_s) or (by is not None and now >= by):
                raise
            if not is_away:
                logger.warning("%s; waiting for it", exc)
            is_away = True
            sleep(pause_s if by is None else max(0.0, min(pause_s, by - now)))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            if is_away:
                logger.warning("the table answers again")
            return result


def _once(action: Callable[[], T], by: float | None) -> T:
    if by is None:
        return action()
    with answers_within(max(_LEAST_ANSWER_S, by - monotonic())):
        return action()
