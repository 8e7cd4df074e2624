"""One run: a batch, a cluster, a schedule of disasters, and what is true afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from time import monotonic, sleep

from chaos.arena import Arena
from chaos.audit import Findings, inspect
from chaos.schedule import schedule
from support.batches import is_torn
from support.postgres import Postgres
from support.stack import eventually

from wavemill.dataset.index import Dataset
from wavemill.errors import DatabaseUnavailableError
from wavemill_producer import Batch
from wavemill_producer.batch import FINISHED


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
    hosts: int = 2
    per_device: int = 2
    seconds_per_job: float = 0.01
    model: str = ""  # render with this one, all of the dataset, instead of a rehearsal with `n_jobs`
    timeout_s: float = 120.0  # after the storm
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, folder: Path, dataset: Path, *, postgres: Postgres | None, say: Callable[[str], None]) -> Findings:
        """Play it; say what happens when, so that a failure can be understood and, by its seed, repeated."""
        database = "SQLite" if postgres is None else "PostgreSQL"
        work = f"everything of the dataset through {self.model}" if self.model else f"{self.n_jobs} jobs"
        say(f"seed {self.seed}, {work} on {database}, {self.hosts} x {self.per_device} workers")
        arena = Arena(
            folder,
            postgres,
            self.settings,
            hosts=self.hosts,
            per_device=self.per_device,
            device="cpu" if self.model else f"rehearsal:{self.seconds_per_job}",
        )
        arena.start()
        try:
            batch = arena.batch = self._submit(arena, folder, dataset)
            self._play(arena, batch, say)
            if any(codes := arena.stop_hosts()):
                raise AssertionError(f"hosts ended with {codes}\n{arena.log()[-4000:]}")
            findings = inspect(
                arena.producer.database, batch, placed=arena.placed, killed=arena.killed, expected=expected_end
            )
        finally:
            arena.close()
        say(f"{findings}")
        return findings

    def _submit(self, arena: Arena, folder: Path, dataset: Path) -> Batch:
        if self.model:
            with Dataset.open(dataset) as opened:
                ids = list(opened.ids())
            return arena.producer.reconstruct(ids, dataset=dataset, model=self.model, output=folder / "out")
        ids = job_ids(self.n_jobs, n_poison=self.n_poison, n_missing=self.n_missing)
        write_inputs(dataset, ids)
        return arena.producer.invert(ids, dataset=dataset, output=folder / "out", check_ids=False)

    def _play(self, arena: Arena, batch: Batch, say: Callable[[str], None]) -> None:
        while len(arena.producer.workers()) < self.hosts * self.per_device:  # the storm finds all of them at work
            sleep(0.1)
        started = monotonic()
        events = schedule(self.seed, weights=self.weights, mean_gap_s=self.mean_gap_s, certain=self.certain)
        for event in takewhile(lambda event: event.at_s < self.storm_s, events):
            if _wait(arena, batch, until=started + event.at_s):
                break
            said = _happen(arena, event.name, event.which)
            say(f"{monotonic() - started:6.1f} s  {event.name}: {said}")
        over = _wait(arena, batch, until=monotonic() + self.timeout_s)
        say(f"{monotonic() - started:6.1f} s  {batch.status()['counts']}")
        if not over:
            raise AssertionError(f"seed {self.seed}: the batch did not end\n{arena.log()[-4000:]}")
        eventually(lambda: not is_torn(arena.producer.database, batch.id), what="clearing up after dead workers")


def _wait(arena: Arena, batch: Batch, *, until: float) -> bool:
    """Look after the hosts until some time, or until the batch is over: then return True."""
    while True:
        if _is_over(batch):
            return True
        if monotonic() >= until:
            return False
        arena.tend()
        sleep(0.1)


def _happen(arena: Arena, name: str, which: int) -> str:
    try:
        return arena.happen(name, which)
    except DatabaseUnavailableError:
        return "the database was gone"


def _is_over(batch: Batch) -> bool:
    with suppress(DatabaseUnavailableError):
        return batch.status()["state"] in FINISHED
    return False


def job_ids(n_jobs: int, *, n_poison: int, n_missing: int) -> list[str]:
    """Return IDs among which some kill whoever opens them and some have no file, evenly spread."""
    ids = [f"job-{k:06d}" for k in range(n_jobs)]
    for name, count in (("poison", n_poison), ("missing", n_missing)):
        for k in range(count):
            place = (2 * k + 1 + (name == "missing")) * n_jobs // (2 * count + 2)
            ids[place] = f"{name}-{k}"
    return ids


def write_inputs(dataset: Path, ids: Sequence[str]) -> None:
    """Give each ID but the missing ones a file, all with the same small content."""
    folder = dataset / "spectrograms"
    for spectrogram_id in ids:
        if not spectrogram_id.startswith("missing"):
            (folder / f"{spectrogram_id}.npy").write_bytes(spectrogram_id.encode())


def expected_end(spectrogram_id: str) -> tuple[str, str | None]:
    """Return the state and the error code with which a job must end."""
    if spectrogram_id.startswith("poison"):
        return "failed", "worker-lost"
    return ("failed", "unknown-spectrogram") if spectrogram_id.startswith("missing") else ("done", None)
