"""Flags that mark a job's outputs as unusual, as `jobs.flags` stores them."""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """One word each; a job may carry several."""

    SILENT = "silent"  # no sample of an output reaches one step of 16-bit PCM
    CLIPPED = "clipped"  # samples of an output lie over full scale
    FAR = "far"  # the result is further from the original than in nearly all reconstructions
