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
from wavemill_producer.orders import Order, Orders


class DryRun(Orders[dict[str, Any]]):
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

    def _take(self, order: Order) -> dict[str, Any]:
        total = sum(1 for _ in order.new_jobs)
        if not total:
            raise UsageError("there is nothing to do: no IDs were given")
        return {
            "total": total,
            "duplicates": order.checked.duplicates,
            "unknown": order.checked.unknown,
            "unknown_examples": list(order.checked.unknown_examples),
            "chunks": -(-total // order.request.chunk_size),
            "output_bytes": total * order.bytes_per_job,
            "free_bytes": _free_bytes(order.request.output),
            **self._estimate(order, total),
        }

    def _estimate(self, order: Order, total: int) -> dict[str, Any]:
        rate, source = queries.expected_rate(
            self._database,
            operation=order.request.operation,
            model_digest=order.request.model_digest,
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
