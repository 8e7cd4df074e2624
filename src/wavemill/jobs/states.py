"""States of a job and of a batch, and the moves allowed between a job's states."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    DONE = "done"  # its outputs are in place and their digests recorded
    FAILED = "failed"  # gave up; `error_code` and `error` say why
    CANCELLED = "cancelled"  # its batch was cancelled before it was done


class BatchState(StrEnum):
    """Where a batch stands; derived from its counts, never stored."""

    QUEUED = "queued"  # nothing was started yet
    RUNNING = "running"  # some jobs are not final
    PAUSED = "paused"  # some jobs are not final, and none will be started
    DONE = "done"  # every job is done
    FAILED = "failed"  # finished, and some jobs failed
    CANCELLED = "cancelled"  # finished, and some jobs were cancelled


MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.DONE, State.FAILED, State.CANCELLED, State.QUEUED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}
FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})


def batch_state(counts: Mapping[State, int], *, paused: bool, cancelled: bool) -> BatchState:
    """Derive a batch's state from how many of its jobs are in each state.

    A batch that was cancelled after its last job was done is DONE.
    """
    if counts[State.QUEUED] or counts[State.RUNNING]:
        if paused and not cancelled:
            return BatchState.PAUSED
        untouched = not any(count for state, count in counts.items() if state is not State.QUEUED)
        return BatchState.QUEUED if untouched else BatchState.RUNNING
    if counts[State.FAILED]:
        return BatchState.FAILED
    return BatchState.CANCELLED if counts[State.CANCELLED] else BatchState.DONE
