"""What must be true of batches, whatever happened while they were worked on."""

from __future__ import annotations

import hashlib
import re
import statistics
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from chaos import history
from chaos.arena import Arena, Entry, Strike
from chaos.notes import Family, notes
from sqlalchemy import Row, select
from support.batches import audit, job_rows

from wavemill.jobs.database import Database
from wavemill.jobs.schema import job_attempts, jobs
from wavemill.jobs.states import FINAL

_CLOCK_S = 0.01  # SQLite's clock has milliseconds
_LOST = "worker-lost"
_SHOWN = 3  # violations of a kind


@dataclass(kw_only=True)
class Findings:
    """What was found: `violations` ought to be empty."""

    violations: list[str] = field(default_factory=list)
    states: Counter[tuple[str, str | None]] = field(default_factory=Counter)  # (state, error code)
    lost_attempts: int = 0
    recoveries: list[tuple[float, float]] = field(
        default_factory=list
    )  # s from a kill until queued, and claimed, again
    remarks: list[str] = field(default_factory=list)

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
        said = "".join(f"\n  {line}" for line in (*self.remarks, *_few_of_each(self.violations)))
        return f"{states}; {self.lost_attempts} lost attempts{recovery}; {len(self.violations)} violations{said}"


def _few_of_each(sentences: Sequence[str]) -> Iterator[str]:
    """Yield the first ones of each kind, kinds being what differs in more than numbers."""
    seen: Counter[str] = Counter()
    for sentence in sentences:
        kind = re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", sentence)
        seen[kind] += 1
        if seen[kind] <= _SHOWN:
            yield sentence
    if (left := len(sentences) - sum(min(count, _SHOWN) for count in seen.values())) > 0:
        yield f"... and {left} more of these kinds"


def inspect(arena: Arena) -> Findings:
    """Hold every batch of an arena against the promises."""
    all_notes = list(notes(arena.placed))
    family = Family(all_notes)
    poisoned = [
        Strike(at=note["time"], pid=note["pid"], how="poisoned") for note in all_notes if note["event"] == "poisoned"
    ]
    struck = _Struck([*arena.struck, *poisoned], family)
    placements: dict[str, list[float]] = defaultdict(list)
    for note in all_notes:
        if note["event"] == "place":
            placements[note["path"]].append(note["time"])
    findings = Findings(violations=list(arena.complaints), remarks=list(arena.remarks))
    for entry in arena.entries:
        if entry.expected is None:
            findings.violations += _left_of_pruned(entry)
        else:
            _inspect_batch(arena.producer.database, entry, struck, placements, findings)
    findings.violations += _strangers(arena)
    return findings


def _inspect_batch(
    database: Database, entry: Entry, struck: _Struck, placements: dict[str, list[float]], findings: Findings
) -> None:
    rows = job_rows(database, entry.batch.id)
    attempts = _attempts(database, entry.batch.id)
    found = [
        *_unsound_table(database, entry.batch.id),
        *_wrong_ends(rows, entry),
        *_wrong_files(rows),
        *_done_twice(rows, attempts),
        *_placed_wrongly(rows, history.claims_of(database, entry.batch.id), placements),
        *_unexplained(rows, attempts, struck),
    ]
    findings.violations += [f"{entry.what}: {sentence}" for sentence in found]
    findings.states += Counter((row.state, row.error_code) for row in rows)
    findings.lost_attempts += sum(one.error_code == _LOST for group in attempts.values() for one in group)
    findings.recoveries += _recoveries(attempts, struck)


def _unsound_table(database: Database, batch_id: str) -> Iterable[str]:
    """Counters, limits of attempts, jobs that no message will name."""
    try:
        audit(database, batch_id)
    except AssertionError as exc:
        yield f"the table is not sound: {exc or traceback.extract_tb(exc.__traceback__)[-1].line}"


def _wrong_ends(rows: Iterable[Row[Any]], entry: Entry) -> Iterable[str]:
    assert entry.expected is not None
    for row in rows:
        expected = entry.expected(row.spectrogram_id)
        if row.state not in FINAL or expected not in (None, (row.state, row.error_code)):
            end = f"{row.state} {row.error_code} after {row.attempt} attempts"
            yield f"{row.spectrogram_id} ended as {end}: {row.error}"


def _recorded(rows: Iterable[Row[Any]]) -> dict[str, str]:
    pairs = (
        pair for row in rows for pair in ((row.generated_path, row.sha256), (row.original_path, row.original_sha256))
    )
    return {path: digest for path, digest in pairs if path is not None}


def _wrong_files(rows: Sequence[Row[Any]]) -> Iterable[str]:
    for row in rows:
        if (row.state == "done") != (row.generated_path is not None):
            yield f"{row.spectrogram_id} is {row.state} and its path {row.generated_path}"
    for path, digest in _recorded(rows).items():
        if not Path(path).exists():
            yield f"{path} is recorded and not there"
        elif hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
            yield f"{path} is not what was recorded"


def _strangers(arena: Arena) -> Iterable[str]:
    """Files below the outputs of any batch, in `.staging` too, that no row tells of."""
    entries = [entry for entry in arena.entries if entry.expected is not None]
    recorded = {path for entry in entries for path in _recorded(job_rows(arena.producer.database, entry.batch.id))}
    pruned = {entry.output / entry.batch.id for entry in arena.entries if entry.expected is None}
    for output in {entry.output for entry in arena.entries}:
        for path in sorted(path for path in output.rglob("*") if path.is_file() and str(path) not in recorded):
            if pruned.isdisjoint(path.parents):
                yield f"no row tells of {path}"


def _left_of_pruned(entry: Entry) -> Iterable[str]:
    for path in sorted((entry.output / entry.batch.id).rglob("*")):
        if path.is_file():
            yield f"{entry.what}: a file is left of a pruned batch: {path}"


def _done_twice(rows: Iterable[Row[Any]], attempts: dict[int, list[Row[Any]]]) -> Iterable[str]:
    for row in rows:
        n_done = sum(one.outcome == "done" for one in attempts[row.id])
        if n_done != (row.state == "done"):
            yield f"{row.spectrogram_id} is {row.state} and was done {n_done} times"


def _placed_wrongly(
    rows: Iterable[Row[Any]], claims: dict[int, int], placements: dict[str, list[float]]
) -> Iterable[str]:
    """A file is moved into place once, and again only in another claim; never when its job is done."""
    for row in rows:
        times = placements.get(row.generated_path, [])
        if len(times) > (n_claims := claims.get(row.id, 0)):
            yield f"{row.spectrogram_id} was placed {len(times)} times in {n_claims} claims"
        late_s = max(times, default=0.0) - row.finished_at.timestamp() if row.finished_at else 0.0
        if late_s > _CLOCK_S:
            yield f"{row.spectrogram_id} was overwritten {late_s:.3f} s after it was done"


class _Struck:
    """To whom the arena, or an input, did something that explains lost attempts."""

    def __init__(self, strikes: Iterable[Strike], family: Family) -> None:
        self._strikes: dict[int, list[Strike]] = defaultdict(list)
        for strike in strikes:
            self._strikes[strike.pid].append(strike)
        self._family = family

    def first(self, worker_id: str | None, *, before: float) -> Strike | None:
        """Return the first strike that hit a worker, or a process that it came from."""
        digits = (worker_id or "").rpartition("/")[2].partition("-")[0]
        if not digits.isdigit():
            return None
        mine = [strike for pid in self._family.line_of(int(digits)) for strike in self._strikes.get(pid, [])]
        return min((strike for strike in mine if strike.at <= before), key=lambda strike: strike.at, default=None)


def _unexplained(rows: Iterable[Row[Any]], attempts: dict[int, list[Row[Any]]], struck: _Struck) -> Iterable[str]:
    """Attempts that count, and no death explains; where nothing but deaths makes anyone try again."""
    for row in rows:
        for one in attempts[row.id]:
            if one.error_code == _LOST:
                if struck.first(one.worker_id, before=one.finished_at.timestamp() + _CLOCK_S) is None:
                    yield f"{row.spectrogram_id}: attempt {one.attempt} was lost, and {one.worker_id} did not die"
            elif one.outcome == "retry":
                yield f"{row.spectrogram_id}: attempt {one.attempt} was spent on {one.error_code}: {one.error}"


def _attempts(database: Database, batch_id: str) -> dict[int, list[Row[Any]]]:
    query = select(job_attempts).join(jobs).where(jobs.c.batch_id == batch_id).order_by(job_attempts.c.id)
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    with database.reading() as connection:
        for row in connection.execute(query):
            found[row.job_id].append(row)
    return found


def _recoveries(attempts: dict[int, list[Row[Any]]], struck: _Struck) -> Iterator[tuple[float, float]]:
    """Seconds from each kill until each of the victim's jobs was queued, and claimed, again, as the table has them."""
    for group in attempts.values():
        for lost, following in pairwise(group):
            if lost.error_code != _LOST:
                continue
            strike = struck.first(lost.worker_id, before=lost.finished_at.timestamp() + _CLOCK_S)
            if strike is not None and strike.how == "killed":
                yield lost.finished_at.timestamp() - strike.at, following.started_at.timestamp() - strike.at
