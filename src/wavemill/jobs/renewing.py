"""Renews a hold on rows while the process works on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.patience import answers_within


@contextmanager
def renewing(renew: Callable[[], object], *, every_s: float, within_s: float) -> Iterator[None]:
    """Call `renew` every `every_s` seconds inside the block, in a thread of its own.

    Each database answer may take `within_s` seconds. An outage costs one call: the next may succeed.
    """
    ended = threading.Event()

    def keep_renewing() -> None:
        while not ended.wait(every_s):
            with suppress(DatabaseUnavailableError), answers_within(within_s):
                renew()

    thread = threading.Thread(target=keep_renewing, name="renewing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
