"""The signals that ask a command to end: Ctrl-C, SIGTERM, and a terminal that was closed."""

from __future__ import annotations

import signal
from collections.abc import Callable


def on_end_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on each of these signals, except those ignored from the start, as under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop())
