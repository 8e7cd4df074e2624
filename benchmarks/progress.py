"""Say on standard error what is being measured."""

from __future__ import annotations

import sys
import time

_STARTED = time.perf_counter()


def tell(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{time.perf_counter() - _STARTED:7.1f} s  {text}", file=sys.stderr, flush=True)
