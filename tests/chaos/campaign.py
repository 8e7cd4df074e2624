"""One run: batches, a cluster, a schedule of disasters, and what is true afterwards."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from time import monotonic, sleep

from chaos import history
from chaos.aftermath import hosts_without_sweep, loud_hosts
from chaos.arena import Arena, Entry, patiently
from chaos.audit import Findings, inspect
from chaos.events import EVENTS
from chaos.inputs import job_ids, mixed
from chaos.notes import notes
from chaos.schedule import Event, schedule
from chaos.waiters import Waiters
from sqlalchemy.exc import DBAPIError
from support.batches import is_torn
from support.postgres import Postgres

from wavemill.dataset.index import Dataset
from wavemill.errors import WavemillError
from wavemill_producer import Batch
from wavemill_producer.batch import FINISHED

_START_S = 120.0
_CHECK = Path(__file__).with_name("check.py")


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """How much of what; `seed` decides the schedule, of which nothing happens any more after `storm_s`."""

    seed: int
    n_jobs: int
    mean_gap_s: float
    storm_s: float
    weights: Mapping[str, int]
    certain: Sequence[tuple[float, str]] = ()
    n_poison: int = 1
    n_missing: int = 1
    n_killers: int = 128
    lock_s: float = 40.0
    n_small: int = 300
    hosts: int = 2
    per_device: int = 2
    seconds_per_job: float = 0.01
    model: str = ""  # render with this one, all of the dataset, instead of a rehearsal with `n_jobs`
    timeout_s: float = 120.0  # after the storm
    pooled: bool = False
    clocks: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    history: Path | None = None  # where its lines are kept

    def run(self, folder: Path, dataset: Path, *, postgres: Postgres | None, say: Callable[[str], None]) -> Findings:
        """Play it; say what happens when, so that a failure can be understood and, by its seed, repeated."""
        database = "SQLite" if postgres is None else "PostgreSQL" + (" behind PgBouncer" if self.pooled else "")
        work = f"everything of the dataset through {self.model}" if self.model else f"{self.n_jobs} jobs"
        say(f"seed {self.seed}, {work} on {database}, {self.hosts} x {self.per_device} workers")
        arena = self._arena(folder, dataset, postgres)
        try:
            arena.start()
            findings = self._play(arena, say)
        finally:
            arena.calm()
            arena.close()
        if findings.violations:
            say(arena.log()[-3000:])
        say(f"{findings}")
        return findings

    def _arena(self, folder: Path, dataset: Path, postgres: Postgres | None) -> Arena:
        return Arena(
            folder,
            dataset,
            postgres,
            self.settings,
            hosts=self.hosts,
            per_device=self.per_device,
            device="cpu" if self.model else f"rehearsal:{self.seconds_per_job}",
            pooled=self.pooled,
            clocks=self.clocks,
            n_killers=self.n_killers,
            lock_s=self.lock_s,
            n_small=self.n_small,
        )

    def _play(self, arena: Arena, say: Callable[[str], None]) -> Findings:
        _await_workers(arena, self.hosts * self.per_device)  # the storm finds all of them at work
        arena.batch = self._submit(arena)
        waiters = Waiters(arena)
        try:
            started = monotonic()
            n_events = self._storm(arena, started, say)
            arena.calm()
            say(f"{monotonic() - started:6.1f} s  all is mended")
            waiters.release()
            self._end(arena, started, say)
            arena.complaints += waiters.complaints(n_events)
            say(f"{monotonic() - started:6.1f} s  whoever waited has ended")
        finally:
            waiters.close()
        arena.complaints += hosts_without_sweep(arena)
        arena.complaints += loud_hosts(arena)
        say(f"{monotonic() - started:6.1f} s  every host was asked for a sweep")
        arena.stop_hosts()
        say(f"{monotonic() - started:6.1f} s  every host has stopped")
        findings = inspect(arena)
        findings.violations += self._check_history(arena, say)
        return findings

    def _submit(self, arena: Arena) -> Batch:
        if not self.model:
            ids = job_ids(self.n_jobs, n_poison=self.n_poison, n_missing=self.n_missing)
            return arena.submit("main", ids, expected=mixed)
        with Dataset.open(arena.dataset) as opened:
            ids = list(opened.ids())
        batch = arena.producer.reconstruct(ids, dataset=arena.dataset, model=self.model, output=arena.output)
        arena.entries.append(Entry(what="main", batch=batch, output=arena.output, expected=mixed))
        return batch

    def _storm(self, arena: Arena, started: float, say: Callable[[str], None]) -> int:
        """Let it happen; return how much did. When the batch is over, what is certain finds another one."""
        events = schedule(self.seed, weights=self.weights, mean_gap_s=self.mean_gap_s, certain=self.certain)
        left, n_events, late_s = len(self.certain), 0, 0.0
        for event in takewhile(lambda event: event.at_s < self.storm_s, events):
            # What took its time puts off all that follows: faults that were to come apart do not meet.
            late_s = max(late_s, monotonic() - started - event.at_s)
            if _wait(arena, until=started + event.at_s + late_s):
                if not left:
                    break
                arena.batch = patiently(lambda: self._submit(arena))
            left -= event.is_certain
            n_events += 1
            said = _happen(arena, event)
            say(f"{monotonic() - started:6.1f} s  {event.name}: {said}")
        return n_events

    def _end(self, arena: Arena, started: float, say: Callable[[str], None]) -> None:
        """Wait until every batch is over and cleared up; complain of those that are not."""
        deadline = monotonic() + self.timeout_s
        for entry in [entry for entry in arena.entries if entry.expected is not None]:
            while not (_is_over(entry.batch) and not is_torn(arena.producer.database, entry.batch.id)):
                if monotonic() > deadline:
                    arena.complaints.append(f"{entry.what} did not end: {entry.batch.status()['counts']}")
                    return
                arena.tend()
                sleep(0.1)
        say(f"{monotonic() - started:6.1f} s  all batches are over")

    def _check_history(self, arena: Arena, say: Callable[[str], None]) -> list[str]:
        path = arena.folder / "history.jsonl"
        lines = history.collect(arena.producer.database, notes(arena.placed))
        history.write(path, lines)
        if self.history is not None:
            history.write(self.history, lines)
        done = subprocess.run([sys.executable, "-S", str(_CHECK), str(path)], capture_output=True, text=True)
        say(f"history: {done.stdout.splitlines()[0] if done.stdout else done.stderr[-500:]}")
        return [] if done.returncode == 0 else [f"history: {line}" for line in done.stdout.splitlines()[1:]]


def _await_workers(arena: Arena, count: int) -> None:
    deadline = monotonic() + _START_S
    while len(arena.producer.workers()) < count:
        assert monotonic() < deadline, f"the workers did not start\n{arena.log()[-4000:]}"
        arena.tend()
        sleep(0.1)


def _wait(arena: Arena, *, until: float) -> bool:
    """Look after the hosts until some time; return whether the batch is over then."""
    assert arena.batch is not None
    while monotonic() < until:
        arena.tend()
        sleep(0.1)
    return _is_over(arena.batch)


def _happen(arena: Arena, event: Event) -> str:
    try:
        return EVENTS[event.name](arena, random.Random(event.which))
    except (WavemillError, DBAPIError, OSError) as exc:
        return f"not now: {type(exc).__name__}"


def _is_over(batch: Batch) -> bool:
    with suppress(WavemillError, DBAPIError):
        return batch.status()["state"] in FINISHED
    return False
