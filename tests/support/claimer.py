"""A worker process without sound: claims chunks of a batch until none is left. Run by path; prints what it did."""

from __future__ import annotations

import json
import random
import sys

from wavemill.jobs.claims import ClaimedJob, claim_chunk
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish_jobs
from wavemill.jobs.states import State


def _never(_job: ClaimedJob, exc: Exception) -> Outcome:
    raise exc


def main() -> None:
    """Wait for a line on standard input, then work on every chunk in an order of its own."""
    url, batch_id, worker, total, chunk_size = sys.argv[1:]
    database = Database(url)
    print("ready", flush=True)  # noqa: T201  for the test to read
    sys.stdin.readline()
    starts = list(range(0, int(total), int(chunk_size)))
    random.Random(worker).shuffle(starts)
    mine: list[int] = []
    for start in starts * 2:  # every message twice
        last = start + int(chunk_size) - 1
        claim = claim_chunk(database, batch_id, start, last, worker_id=worker, lease_s=60)
        if claim is not None:
            outcomes = [Outcome(job=job, state=State.DONE) for job in claim.jobs]
            finish_jobs(database, claim, outcomes, on_place_error=_never)
            mine += [job.seq for job in claim.jobs]
    print(json.dumps(mine), flush=True)  # noqa: T201  for the test to read


if __name__ == "__main__":
    main()
