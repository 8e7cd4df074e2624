"""Everything that happened to jobs and files, one JSON line each, written down by others than wavemill.

Triggers in the table see each change of a job's row, whoever makes it; the workers' Python sees each file that is put
into its place. `tests/chaos/check.py` reads the lines, and says which there are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate
from pathlib import Path
from typing import Any

from sqlalchemy import Row, text

from wavemill.jobs.database import Database

_COLUMNS = (
    "job_id",
    "batch_id",
    "spectrogram_id",
    "old_state",
    "new_state",
    "old_attempt",
    "new_attempt",
    "old_worker",
    "new_worker",
    "error_code",
    "generated_path",
    "sha256",
    "original_path",
    "original_sha256",
)
_NEW = (
    "NEW.id, NEW.batch_id, NEW.spectrogram_id, {old_state}, NEW.state, {old_attempt}, NEW.attempt, {old_worker}, "
    "NEW.worker_id, NEW.error_code, NEW.generated_path, NEW.sha256, NEW.original_path, NEW.original_sha256"
)
_VALUES = {
    "insert": _NEW.format(old_state="NULL", old_attempt="NULL", old_worker="NULL"),
    "update": _NEW.format(old_state="OLD.state", old_attempt="OLD.attempt", old_worker="OLD.worker_id"),
    "delete": "OLD.id, OLD.batch_id, OLD.spectrogram_id, OLD.state, NULL, OLD.attempt, NULL, OLD.worker_id, "
    + ", ".join(["NULL"] * 6),
}
_CHANGED = "OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt OR OLD.worker_id IS {distinct} NEW.worker_id"
_TABLE = (
    "CREATE TABLE chaos_history (id {key}, at DOUBLE PRECISION, job_id BIGINT, batch_id TEXT, spectrogram_id TEXT, "
    "old_state TEXT, new_state TEXT, old_attempt INTEGER, new_attempt INTEGER, old_worker TEXT, new_worker TEXT, "
    "error_code TEXT, generated_path TEXT, sha256 TEXT, original_path TEXT, original_sha256 TEXT)"
)
_INTO = f"INSERT INTO chaos_history (at, {', '.join(_COLUMNS)}) VALUES"


def install(database: Database) -> None:
    """Let the table write down from now on what becomes of jobs."""
    statements = _postgresql() if database.is_postgresql else _sqlite()
    with database.transaction() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _sqlite() -> Iterator[str]:
    yield _TABLE.format(key="INTEGER PRIMARY KEY AUTOINCREMENT")
    clock = "(julianday('now') - 2440587.5) * 86400.0"
    for event, values in _VALUES.items():
        when = f"WHEN {_CHANGED.format(distinct='NOT')}" if event == "update" else ""
        yield (
            f"CREATE TRIGGER chaos_{event} AFTER {event.upper()} ON jobs FOR EACH ROW {when} "
            f"BEGIN {_INTO} ({clock}, {values}); END"
        )


def _postgresql() -> Iterator[str]:
    yield _TABLE.format(key="BIGSERIAL PRIMARY KEY")
    clock = "extract(epoch FROM clock_timestamp())"
    for event, values in _VALUES.items():
        yield (
            f"CREATE FUNCTION chaos_{event}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {_INTO} ({clock}, {values}); RETURN NULL; END $$"
        )
        when = f"WHEN ({_CHANGED.format(distinct='DISTINCT FROM')})" if event == "update" else ""
        yield (
            f"CREATE TRIGGER chaos_{event} AFTER {event.upper()} ON jobs FOR EACH ROW {when} "
            f"EXECUTE FUNCTION chaos_{event}()"
        )


def claims_of(database: Database, batch_id: str) -> dict[int, int]:
    """Return how often each job of a batch was claimed."""
    query = (
        "SELECT job_id, count(*) FROM chaos_history WHERE batch_id = :batch AND new_state = 'running' GROUP BY job_id"
    )
    with database.reading() as connection:
        return dict(tuple(row) for row in connection.execute(text(query), {"batch": batch_id}))


def collect(database: Database, all_notes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines: those of the table in its order, those of files among them by their times."""
    with database.reading() as connection:
        rows = connection.execute(text("SELECT * FROM chaos_history ORDER BY id")).all()
    changes = [line for row in rows if (line := _change(row)) is not None]
    placements = list(_placements(changes, [note for note in all_notes if note["event"] == "place"]))
    # By the latest time so far: where a clock was set back, the table's order still holds.
    timed = zip(accumulate((line["time"] for line in changes), max), changes, strict=True)
    files = ((line["time"], line) for line in sorted(placements, key=lambda line: line["time"]))
    return [line for _, line in merge(timed, files, key=lambda pair: pair[0])]


def write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, behind what the file holds."""
    with path.open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)


def _change(row: Row[Any]) -> dict[str, Any] | None:
    """Return the line for what a trigger saw."""
    event = _event(row)
    leaves = row.old_state == "running" and event != "claim"
    files = ((row.generated_path, row.sha256), (row.original_path, row.original_sha256))
    return None if event is None else {
        "event": event,
        "time": round(row.at, 6),
        "batch": row.batch_id,
        "job": row.job_id,
        "attempt": row.old_attempt if leaves else row.new_attempt,
        "counted": row.new_attempt,
        "worker": row.old_worker if leaves else row.new_worker,
        "state": row.new_state,
        "error": row.error_code,
        "files": [{"path": path, "sha256": digest} for path, digest in files if path is not None],
    }  # fmt: skip


def _event(row: Row[Any]) -> str | None:
    old, new = row.old_state, row.new_state
    if old is None or new is None:
        return "queue" if old is None else "delete"
    if new == "running":
        return "claim"
    if old == "running":
        if row.error_code == "worker-lost":
            return "reclaim"
        return "give-back" if new == "queued" else "finish"
    return {"queued": "requeue", old: None}.get(new, "end") if old != new else None


def _placements(changes: Sequence[dict[str, Any]], placed: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say of each file which job's it is, and which attempt of which worker was at that job then."""
    job_of = {file["path"]: (line["batch"], line["job"]) for line in changes for file in line["files"]}
    claims: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for line in changes:
        if line["event"] == "claim":
            claims[line["batch"], line["job"], _pid(line["worker"])].append(line)
    for note in placed:
        batch, job = job_of.get(note["path"], (None, None))
        mine = claims.get((batch, job, note["pid"]), [])
        claim = next((one for one in reversed(mine) if one["time"] <= note["time"] + 0.01), mine[0] if mine else {})
        yield {
            "event": "place",
            "time": round(note["time"], 6),
            "batch": batch,
            "job": job,
            "attempt": claim.get("attempt"),
            "worker": claim.get("worker"),
            "pid": note["pid"],
            "by": note["by"],
            "path": note["path"],
            "sha256": note["sha256"],
        }


def _pid(worker: str | None) -> int:
    digits = (worker or "").rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else 0
