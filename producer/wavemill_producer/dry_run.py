"""What a submission would queue, how long it would take and how much disk. Queues nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from wavemill.errors import UsageError
from wavemill.jobs import queries
from wavemill.jobs.database import Database
from wavemill.settings import Settings
from wavemill.storage.locations import is_url
from wavemill_producer.submission import Submission
from wavemill_producer.submitter import Submitter


class DryRun(Submitter[dict[str, Any]]):
    """Makes all checks of a submission and reports what it would queue, but queues nothing.

    Unknown IDs are counted instead of refused. `output_bytes` is an upper bound for 16-bit sound:
    every clip at its full length. `estimated_s` is None if there is nothing to estimate it from;
    `estimated_from` names the source of the estimate. `queued_before_s` is how long the jobs that
    are already queued take at the same rate.
    """

    counts_unknown = True

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self._database = database

    def _accept(self, submission: Submission) -> dict[str, Any]:
        total = sum(1 for _ in submission.new_jobs)
        if not total:
            raise UsageError("there is nothing to do: no IDs were given")
        return {
            "total": total,
            "duplicates": submission.checked.duplicates,
            "unknown": submission.checked.unknown,
            "unknown_examples": list(submission.checked.unknown_examples),
            "chunks": -(-total // submission.request.chunk_size),
            "output_bytes": total * submission.bytes_per_job,
            "free_bytes": _free_bytes(submission.request.output),
            **self._estimate(submission, total),
        }

    def _status_of(self, batch_id: str) -> dict[str, Any]:
        return queries.batch_status(self._database, batch_id)

    def _estimate(self, submission: Submission, total: int) -> dict[str, Any]:
        rate, source = queries.expected_rate(
            self._database,
            operation=submission.request.operation,
            model_digest=submission.request.model_digest,
            alive_within_s=self.settings.lease_s,
        )
        before = queries.all_left(self._database)["jobs_left"]
        return {
            "estimated_s": None if rate is None else round(total / rate, 1),
            "estimated_from": source,
            "queued_before": before,
            "queued_before_s": None if rate is None else round(before / rate, 1),
        }


def _free_bytes(output: str) -> int | None:
    """Return the free bytes where a local output would go; None for a URL."""
    if is_url(output):
        return None
    folder = Path(output)
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
