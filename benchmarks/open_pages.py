"""What many open pages of one busy batch cost the table.

    python -m benchmarks.open_pages [PAGES] [SECONDS]

Each page does what a browser's does: it listens to the batch's events, and reads the part that moves after
an event, at most once a second, and the plots at most once in five. Meanwhile jobs of the batch end all the time.
Prints the statements that the server sends to the table (SQLite in a temporary folder) in a second.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
from sqlalchemy import Engine, event

from wavemill.jobs.claims import claim_chunk
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish_jobs
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.states import State
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.settings import Settings
from wavemill_producer.web.background import page_in_background

CHUNK = 8


def main() -> None:
    """Open the pages, count for a while, and print."""
    n_pages = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        database = Database(settings.sqlalchemy_url)
        upgrade(database)
        batch_id = _batch(database)
        sent: Counter[str] = Counter()
        event.listen(Engine, "before_cursor_execute", lambda *_: sent.update([threading.current_thread().name]))
        stop = threading.Event()
        work = threading.Thread(target=_work, args=(database, batch_id, stop), name="work")
        with page_in_background(settings, port=0) as where:
            work.start()
            reads = asyncio.run(_pages(where.split()[1], batch_id, n_pages, seconds, sent))
            stop.set()
            work.join()
        statements = sum(n for name, n in sent.items() if name != "work")
        print(
            f"{n_pages} pages: {reads / seconds:.0f} reads of parts/s, {statements / seconds:.1f} statements/s in all, "
            f"{statements / seconds / n_pages:.3f} a page and second"
        )
        database.close()


def _batch(database: Database) -> str:
    request = BatchRequest(
        operation="invert", dataset="/data", model=None, model_digest=None, output="/out",
        priority=4, chunk_size=CHUNK, max_attempts=3,
    )  # fmt: skip
    return write_batch(database, request, ((f"set/{i:06d}", None) for i in range(100_000)))[0]


def _work(database: Database, batch_id: str, stop: threading.Event) -> None:
    for first in range(0, 100_000, CHUNK):
        claimed = claim_chunk(database, batch_id, first, first + CHUNK - 1, worker_id="w", lease_s=60)
        if stop.is_set() or claimed is None:
            return
        done = [Outcome(job=job, state=State.DONE) for job in claimed.jobs]
        finish_jobs(database, claimed, done, on_place_error=lambda job, _: Outcome(job=job, state=State.FAILED))
        stop.wait(0.1)


async def _pages(url: str, batch_id: str, n_pages: int, seconds: float, sent: Counter[str]) -> int:
    limits = httpx.Limits(max_connections=2 * n_pages + 10)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        reads: Counter[str] = Counter()
        pages = [asyncio.create_task(_page(client, batch_id, reads)) for _ in range(n_pages)]
        await asyncio.sleep(5)  # all are open
        sent.clear()
        reads.clear()
        await asyncio.sleep(seconds)
        for page in pages:
            page.cancel()
        for page in pages:
            with suppress(asyncio.CancelledError):
                await page  # raises what has ended it early
        return reads.total()


async def _page(client: httpx.AsyncClient, batch_id: str, reads: Counter[str]) -> None:
    (await client.get(f"/batches/{batch_id}")).raise_for_status()
    read_at = {"progress": 0.0, "figures": 0.0}
    async with client.stream("GET", f"/api/v1/batches/{batch_id}/events") as stream:
        async for line in stream.aiter_lines():
            if line != "event: batch":
                continue
            for part, pause_s in (("progress", 1.0), ("figures", 5.0)):
                if time.monotonic() - read_at[part] >= pause_s:
                    read_at[part] = time.monotonic()
                    (await client.get(f"/batches/{batch_id}/{part}")).raise_for_status()
                    reads[part] += 1


if __name__ == "__main__":
    main()
