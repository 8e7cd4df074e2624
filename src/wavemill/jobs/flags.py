"""What can be odd about a job's outputs, as `jobs.flags` says it."""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """One word each; a job may carry several."""

    SILENT = "silent"  # no sample of an output reaches one step of 16-bit PCM
    CLIPPED = "clipped"  # samples of an output lie over full scale
    FAR = "far"  # what was made is further from what it ought to be like than nearly all reconstructions are
