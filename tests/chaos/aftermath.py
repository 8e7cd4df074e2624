"""What must be true of hosts when a storm is over: each still sweeps, and none has filled its disk with words."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from chaos.arena import Arena
from chaos.hosts import Host
from chaos.inputs import all_done
from chaos.processes import signal_process

from wavemill_producer import Producer
from wavemill_producer.batch import FINISHED

_LOG_BYTES_PER_MINUTE = 1_000_000
_NOBODY_LISTENS = "redis://127.0.0.1:1/0"
_SWEEP_TIMEOUT_S = 45.0


def loud_hosts(arena: Arena) -> Iterator[str]:
    """Complain of hosts whose log grew too fast."""
    for host in arena.cluster:
        if (grown := host.log_bytes_per_minute()) > _LOG_BYTES_PER_MINUTE:
            yield f"{host.name} wrote {grown / 1e6:.1f} MB of log a minute"


def hosts_without_sweep(arena: Arena) -> Iterator[str]:
    """Complain of hosts that no longer look for jobs without a message: alone, with the others frozen, each must."""
    settings = arena.producer.settings.model_copy(update={"broker_url": _NOBODY_LISTENS})
    with Producer(settings) as mute:
        for host in arena.cluster:
            with _alone(arena, host):
                # It has rows and no message: only a sweep sends one.
                batch = arena.submit(f"swept by {host.name}", ["swept-0"], expected=all_done, producer=mute)
                deadline = monotonic() + _SWEEP_TIMEOUT_S
                while batch.status()["state"] not in FINISHED:
                    if monotonic() > deadline:
                        yield f"{host.name} no longer sweeps: a job without a message waits for ever"
                        break
                    sleep(0.05)


@contextmanager
def _alone(arena: Arena, host: Host) -> Iterator[None]:
    """Freeze all other supervisors; their workers go on."""
    others = [other.pid for other in arena.cluster if other is not host]
    for pid in others:
        signal_process(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            signal_process(pid, signal.SIGCONT)
