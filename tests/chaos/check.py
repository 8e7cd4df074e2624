"""Check a history of `python -m tests.chaos --history FILE` against what wavemill promises. Needs Python, nothing else.

    python tests/chaos/check.py FILE

Each line is a JSON object; `event` says what happened to a job, or to one of its files:

queue      a row was written            requeue    a user had it tried again
claim      a worker took it             give-back  it went back to the queue before its end
finish     its worker said the end      reclaim    it was taken from a worker that died or fell silent
end        it ended without a worker (cancelled, stopped)
delete     its batch was pruned         place      a file got its final name

Lines of a job stand in the order in which the table was changed. What is checked:

lost       each job that was queued ends done, failed or cancelled
twice      a job is finished once, and once more for each time that a user requeued it
order      it is claimed while queued, finished while claimed, and each claim's attempt is the next one
fencing    who finishes a job, or gives it back, is who holds it; a done job's file is what its finish recorded, put
           there by the attempt that finished it, or by an earlier one before it lost the job, and by nobody afterwards

Prints counts and violations; exit code 1 if there is any violation.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FINAL = {"done", "failed", "cancelled"}
CLOCK_S = 0.005  # SQLite's clock has milliseconds
SHOWN = 50

Line = dict[str, Any]
Violation = tuple[str, str]  # (kind, sentence)
Holder = tuple[str | None, int | None]  # (worker, attempt)


@dataclass
class Job:
    """What a job's lines so far come to."""

    name: str
    state: str | None = None
    holder: Holder | None = None
    counted: int = 0  # attempts that count
    finishes: int = 0
    requeues: int = 0
    files: dict[str, tuple[Line, str | None]] = field(default_factory=dict)  # path -> (its finish, its digest)
    left: dict[Holder, float] = field(default_factory=dict)  # when who lost it

    def take(self, line: Line) -> Iterator[Violation]:
        """Apply a line; yield what it violates."""
        event = line["event"]
        if event in {"finish", "give-back", "reclaim"}:
            yield from self._leave(line)
        elif event == "claim":
            yield from self._claim(line)
        elif event == "requeue":
            yield from self._requeue(line)
        elif event == "end" and self.state in FINAL:
            yield "twice", f"{self.name} was {self.state} and became {line['state']}"
        elif event == "queue" and self.state is not None:
            yield "order", f"{self.name} was queued while it was there"
        self.state = None if event == "delete" else line["state"]

    def _claim(self, line: Line) -> Iterator[Violation]:
        if self.state in FINAL:
            yield "twice", f"{self.name} was {self.state}, and claimed by {line['worker']}"
        elif self.state != "queued":
            yield "order", f"{self.name} was {self.state}, and claimed by {line['worker']}"
        if line["attempt"] != self.counted + 1:
            yield "order", f"{self.name}: attempt {line['attempt']} came after {self.counted} that count"
        self.holder = (line["worker"], line["attempt"])
        self.counted = line["attempt"]
        self.left.pop(self.holder, None)

    def _leave(self, line: Line) -> Iterator[Violation]:
        who = (line["worker"], line["attempt"])
        if self.holder is None:
            kind = "twice" if self.state in FINAL else "order"
            yield kind, f"{self.name} was {self.state}, and {who} {line['event']} it, who does not hold it"
        elif who != self.holder:
            yield "fencing", f"{self.name}: {line['event']} by {who} while {self.holder} holds it"
        if not line["attempt"] - 1 <= line["counted"] <= line["attempt"]:
            yield "order", f"{self.name}: attempt {line['attempt']} left {line['counted']} that count"
        self.counted = line["counted"]
        if line["event"] == "finish" and line["state"] != "cancelled":
            self.finishes += 1
            if self.finishes > 1 + self.requeues:
                yield "twice", f"{self.name} was finished {self.finishes} times, and requeued {self.requeues} times"
        if line["state"] == "done":
            self.files = {file["path"]: (line, file["sha256"]) for file in line["files"]}
        elif self.holder is not None:
            self.left[self.holder] = line["time"]
        self.holder = None

    def _requeue(self, line: Line) -> Iterator[Violation]:
        self.requeues += 1
        if self.state == "done":
            yield "twice", f"{self.name} was done, and queued again"
        self.counted = line["counted"]


def check(lines: Iterable[Line]) -> tuple[Counter[str], list[Violation]]:
    """Return how many lines there are of each event, and what they violate."""
    counts: Counter[str] = Counter()
    violations: list[Violation] = []
    jobs: dict[tuple[str, int], Job] = {}  # by batch, too: a table may give a pruned job's number to another
    placed: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        counts[line["event"]] += 1
        if line["event"] == "place":
            placed[line["path"]].append(line)
            continue
        key = (line["batch"], line["job"])
        job = jobs.get(key)
        if job is None:
            job = jobs[key] = Job(name=f"job {line['job']} of {line['batch']}")
            if line["event"] != "queue":
                violations.append(("order", f"{job.name} was not queued before: {line['event']}"))
        violations += job.take(line)
    for job in jobs.values():
        if job.state is not None and job.state not in FINAL:
            violations.append(("lost", f"{job.name} is {job.state} at the end"))
        if job.state == "done" and placed:
            violations += _wrong_files(job, placed)
    return counts, violations


def _wrong_files(job: Job, placed: dict[str, list[Line]]) -> Iterator[Violation]:
    for path, (finish, digest) in job.files.items():
        placements = sorted(placed[path], key=lambda line: line["time"])
        if not placements:
            yield "fencing", f"{job.name} is done, and nobody put anything at {path}"
            continue
        last = placements[-1]
        who = (last["worker"], last["attempt"])
        if last["sha256"] != digest:
            yield "fencing", f"{path} was put there by {who} with {last['sha256']}, and is recorded with {digest}"
        if last["time"] > finish["time"] + CLOCK_S:
            late_s = last["time"] - finish["time"]
            yield "fencing", f"{path} was put there by {who}, {late_s:.3f} s after its job was done"
        elif who != (finish["worker"], finish["attempt"]):
            if last["worker"] is None:
                yield "fencing", f"{path} was put there by process {last.get('pid')}, which never held its job"
            elif last["time"] > job.left.get(who, float("inf")) + CLOCK_S:
                yield "fencing", f"{path} was put there last by {who}, which had lost its job"


def main() -> int:
    """Check the file that is named; print what there is and what is wrong."""
    if len(sys.argv) != 2:
        _say(__doc__)
        return 2
    with Path(sys.argv[1]).open() as file:
        counts, violations = check(json.loads(line) for line in file if line.strip())
    _say(", ".join(f"{count} {event}" for event, count in sorted(counts.items())))
    for kind, sentence in violations[:SHOWN]:
        _say(f"{kind}: {sentence}")
    kinds = Counter(kind for kind, _ in violations)
    _say(f"{len(violations)} violations" + "".join(f", {count} {kind}" for kind, count in sorted(kinds.items())))
    return 1 if violations else 0


def _say(line: str | None) -> None:
    print(line)  # noqa: T201  a command


if __name__ == "__main__":
    sys.exit(main())
