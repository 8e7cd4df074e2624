"""Ends a process with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent_pid: int) -> bool:
    """Have the kernel kill this process when its parent ends; return False if the parent has ended already.

    Linux alone can do this. Elsewhere, this process outlives a parent that is killed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent_pid
