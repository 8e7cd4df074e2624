"""What users do, and what their batches do to those of others."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

from chaos.arena import Arena, patiently
from chaos.hosts import WAVEMILL
from chaos.inputs import IS_KILLER, all_done, any_end
from chaos.notes import notes
from chaos.processes import signal_process
from sqlalchemy import text

from wavemill.errors import WavemillError
from wavemill_producer import Batch
from wavemill_producer.batch import FINISHED

_KILLERS = f"{IS_KILLER}-batch"
_MOST_DEATHS = 32  # of workers by the killers until the healthy batch beside them is done
_STORY_S = 150.0
_PAUSE_S = 1.0


def pause(arena: Arena, _chance: random.Random) -> str:
    """Pause the batch, and resume it soon."""
    assert arena.batch is not None
    batch = arena.batch
    batch.pause()
    arena.later(_PAUSE_S, lambda: patiently(batch.resume))
    return f"for {_PAUSE_S:.0f} s"


def queue_killers_first(arena: Arena, _chance: random.Random) -> str:
    """A batch of inputs that each kill whoever opens them, and after it a healthy one of the same priority."""
    killers = arena.submit("killers", [f"{_KILLERS}-{k}" for k in range(arena.n_killers)], expected=any_end)
    healthy = arena.submit("beside killers", [f"beside-{k}" for k in range(2 * arena.n_killers)], expected=all_done)
    arena.story(lambda: _compare(arena, killers, healthy))
    return f"{arena.n_killers}, and {2 * arena.n_killers} healthy jobs behind them"


def _compare(arena: Arena, killers: Batch, healthy: Batch) -> None:
    """Count how many workers die until the healthy batch is done; cancel the killers then."""
    began = time.monotonic()
    is_done = _wait_until_over(healthy)
    deaths = sum(_KILLERS in note["path"] for note in notes(arena.placed) if note["event"] == "poisoned")
    delay_s = time.monotonic() - began
    arena.remarks.append(f"healthy batch beside killers: {delay_s:.1f} s, {deaths} workers died meanwhile")
    if not is_done:
        arena.complaints.append(f"healthy beside killers, not done after {delay_s:.0f} s: {_counts(healthy)}")
    if deaths > _MOST_DEATHS:
        arena.complaints.append(f"{deaths} workers died before the healthy batch beside the killers was done")
    patiently(killers.cancel)


def cancel_and_prune_under_a_frozen_worker(arena: Arena, _chance: random.Random) -> str:
    """Freeze a worker that is at a batch, cancel the batch, let `gc` take it away, and wake the worker."""
    batch = arena.submit("pruned", [f"pruned-{k}" for k in range(400)], expected=None, priority=9, folder="pruned")
    arena.story(lambda: _prune_and_wake(arena, batch))
    return batch.id


def _prune_and_wake(arena: Arena, batch: Batch) -> None:
    query = "SELECT worker_id FROM jobs WHERE batch_id = :batch AND state = 'running' LIMIT 1"
    deadline = time.monotonic() + _STORY_S
    while not (rows := patiently(lambda: arena.ask(query, batch=batch.id))):
        if time.monotonic() > deadline or _is_over(batch):
            raise AssertionError("nobody came to work on the batch that was to be pruned")
        time.sleep(0.02)
    pid = int(rows[0].worker_id.rpartition("/")[2].partition("-")[0])
    arena.strike(pid, "frozen", signal.SIGSTOP)
    try:
        patiently(batch.cancel)
        if not _wait_until_over(batch):
            raise AssertionError(f"the cancelled batch did not end: {_counts(batch)}")
        patiently(lambda: _prune(arena, batch))
    finally:
        signal_process(pid, signal.SIGCONT)


def _prune(arena: Arena, batch: Batch) -> None:
    """Let `wavemill gc` take away this batch and no other: it becomes two days old first."""
    with arena.producer.database.transaction() as connection:
        old = "2001-01-01 00:00:00.000000" + ("" if arena.postgres is None else "+00")
        connection.execute(text("UPDATE batches SET finished_at = :old WHERE id = :id"), {"old": old, "id": batch.id})
    command = [*WAVEMILL, "gc", "--older-than", "2d", "--json"]
    done = subprocess.run(command, env=arena.environment, cwd=arena.folder, capture_output=True, text=True, timeout=100)
    if done.returncode or [line["batch_id"] for line in json.loads(done.stdout)["batches"]] != [batch.id]:
        raise ConnectionError(f"gc ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")


def queue_small_batches(arena: Arena, _chance: random.Random) -> str:
    """Many batches of one job each, and then one batch of as many jobs."""
    arena.story(lambda: _race(arena, arena.n_small))
    return f"{arena.n_small} batches of one job"


def _race(arena: Arena, count: int) -> None:
    """Compare how fast many small batches and one large one are done, once they are queued."""
    small = [arena.submit("small", ["small-0"], expected=all_done) for _ in range(count)]
    ended = time.monotonic()
    for batch in small:
        if not _wait_until_over(batch):
            arena.complaints.append(f"a batch of one job was not done in {_STORY_S:.0f} s: {_counts(batch)}")
            return
    small_s = time.monotonic() - ended
    began = time.monotonic()
    large = arena.submit("large", [f"large-{k}" for k in range(count)], expected=all_done)
    _wait_until_over(large)
    large_s = time.monotonic() - began
    arena.remarks.append(
        f"{count} batches of one job: done {small_s:.1f} s after the last came; one of {count}: {large_s:.1f} s"
    )


def _wait_until_over(batch: Batch) -> bool:
    deadline = time.monotonic() + _STORY_S
    while not _is_over(batch):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _is_over(batch: Batch) -> bool:
    return patiently(batch.status)["state"] in FINISHED


def _counts(batch: Batch) -> object:
    try:
        return batch.status()["counts"]
    except WavemillError as exc:
        return exc


EVENTS = {
    "pause the batch": pause,
    "queue killers first": queue_killers_first,
    "prune under a frozen worker": cancel_and_prune_under_a_frozen_worker,
    "queue small batches": queue_small_batches,
}
