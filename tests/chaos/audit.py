"""What must be true of a batch, whatever happened while it was worked on."""

from __future__ import annotations

import hashlib
import statistics
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select
from support.batches import audit, job_rows

from wavemill.jobs.database import Database
from wavemill.jobs.schema import job_attempts, jobs
from wavemill.jobs.states import FINAL
from wavemill_producer import Batch

_CLOCK_S = 0.002  # SQLite's clock has milliseconds


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found: `violations` ought to be empty."""

    violations: list[str]
    states: Counter[tuple[str, str | None]]  # (state, error code)
    lost_attempts: int
    recoveries: list[tuple[float, float]]  # seconds from a kill until a job was queued, and claimed, again

    def __str__(self) -> str:
        states = ", ".join(
            f"{count} {state}{f' ({code})' if code else ''}" for (state, code), count in self.states.items()
        )
        recovery = "; no kill hit a job that was tried again"
        if self.recoveries:
            queued_s, claimed_s = (sorted(column) for column in zip(*self.recoveries, strict=True))
            recovery = (
                f"; {len(queued_s)} jobs of killed workers queued again after {statistics.median(queued_s):.1f} s "
                f"(longest {queued_s[-1]:.1f} s), claimed after {statistics.median(claimed_s):.1f} s "
                f"(longest {claimed_s[-1]:.1f} s)"
            )
        said = "".join(f"\n  {violation}" for violation in self.violations[:20])
        return f"{states}; {self.lost_attempts} lost attempts{recovery}; {len(self.violations)} violations{said}"


def inspect(
    database: Database,
    batch: Batch,
    *,
    placed: Path,
    killed: Sequence[tuple[float, int]],
    expected: Callable[[str], tuple[str, str | None]],
) -> Findings:
    """Hold a finished batch against the promises; `expected` says how each job must have ended, by its ID."""
    rows = job_rows(database, batch.id)
    attempts = _attempts(database, batch.id)
    folder = Path(batch.status()["output"]) / batch.id
    placements = _placements(placed)
    violations = [
        *_unsound_table(database, batch.id),
        *_wrong_ends(rows, expected),
        *_wrong_files(rows, folder),
        *_done_twice(rows, attempts),
        *_placed_wrongly(rows, attempts, placements),
    ]
    return Findings(
        violations=violations,
        states=Counter((row.state, row.error_code) for row in rows),
        lost_attempts=sum(one.error_code == "worker-lost" for group in attempts.values() for one in group),
        recoveries=_recoveries(attempts, killed),
    )


def _unsound_table(database: Database, batch_id: str) -> Iterable[str]:
    """Counters, limits of attempts, jobs that no message will name."""
    try:
        audit(database, batch_id)
    except AssertionError as exc:
        yield f"the table is not sound: {exc or traceback.extract_tb(exc.__traceback__)[-1].line}"


def _wrong_ends(rows: Iterable[Row[Any]], expected: Callable[[str], tuple[str, str | None]]) -> Iterable[str]:
    for row in rows:
        if row.state not in FINAL or (row.state, row.error_code) != expected(row.spectrogram_id):
            end = f"{row.state} {row.error_code} after {row.attempt} attempts"
            yield f"{row.spectrogram_id} ended as {end}: {row.error}"


def _wrong_files(rows: Iterable[Row[Any]], folder: Path) -> Iterable[str]:
    recorded = {}
    for row in rows:
        pairs = ((row.generated_path, row.sha256), (row.original_path, row.original_sha256))
        recorded |= {path: digest for path, digest in pairs if path is not None}
        if (row.state == "done") != (row.generated_path is not None):
            yield f"{row.spectrogram_id} is {row.state} and its path {row.generated_path}"
    found = {str(path) for path in folder.rglob("*") if path.is_file()}
    for path in sorted(found - set(recorded)):
        yield f"no row tells of {path}"
    for path, digest in recorded.items():
        if path not in found:
            yield f"{path} is recorded and not there"
        elif hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
            yield f"{path} is not what was recorded"


def _done_twice(rows: Iterable[Row[Any]], attempts: dict[int, list[Row[Any]]]) -> Iterable[str]:
    for row in rows:
        n_done = sum(one.outcome == "done" for one in attempts[row.id])
        if n_done != (row.state == "done"):
            yield f"{row.spectrogram_id} is {row.state} and was done {n_done} times"


def _placed_wrongly(
    rows: Iterable[Row[Any]], attempts: dict[int, list[Row[Any]]], placements: dict[str, list[float]]
) -> Iterable[str]:
    """A file is moved into place once, and again only where a worker died between that and saying so."""
    for row in rows:
        times = placements[row.generated_path] if row.generated_path else []
        lost = sum(one.error_code == "worker-lost" for one in attempts[row.id])
        if len(times) > 1 + lost:
            yield f"{row.spectrogram_id} was placed {len(times)} times, and {lost} attempts were lost"
        late_s = max(times, default=0.0) - row.finished_at.timestamp()
        if late_s > _CLOCK_S:
            yield f"{row.spectrogram_id} was overwritten {late_s:.3f} s after it was done"


def _attempts(database: Database, batch_id: str) -> dict[int, list[Row[Any]]]:
    query = select(job_attempts).join(jobs).where(jobs.c.batch_id == batch_id).order_by(job_attempts.c.id)
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    with database.reading() as connection:
        for row in connection.execute(query):
            found[row.job_id].append(row)
    return found


def _placements(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for log in folder.iterdir():
        for line in log.read_text().splitlines():
            nanoseconds, _, path = line.partition(" ")
            found[path].append(int(nanoseconds) / 1e9)
    return found


def _recoveries(attempts: dict[int, list[Row[Any]]], killed: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Seconds from each kill until each of the victim's jobs was queued, and claimed, again, as the table has them."""
    when = {pid: at for at, pid in killed}
    found = []
    for group in attempts.values():
        for lost, following in pairwise(group):
            pid = int(lost.worker_id.rpartition("/")[2].partition("-")[0])
            if lost.error_code == "worker-lost" and pid in when:
                found.append((lost.finished_at.timestamp() - when[pid], following.started_at.timestamp() - when[pid]))
    return found
