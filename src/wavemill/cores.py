"""How many CPU cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return the number of cores that the system, a container or a scheduler grants this process."""
    return len(os.sched_getaffinity(0))
