"""What happens to processes: they die, freeze, are told to stop."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from chaos.arena import Arena, patiently
from chaos.processes import signal_process

_HIT_S = 90.0  # until some process comes to its n-th placement
_LEASES = 8  # others are given so many to finish what a frozen process held


def kill_a_worker(arena: Arena, chance: random.Random) -> str:
    """As the kernel does when memory is short."""
    return _strike_one(arena, chance, arena.workers(), "killed", signal.SIGKILL)


def kill_a_celery_process(arena: Arena, chance: random.Random) -> str:
    """Its worker ends with it."""
    return _strike_one(arena, chance, arena.celery_processes(), "killed", signal.SIGKILL)


def kill_a_supervisor(arena: Arena, chance: random.Random) -> str:
    """All below it end with it."""
    return _strike_one(arena, chance, [host.pid for host in arena.cluster], "killed", signal.SIGKILL)


def stop_a_supervisor(arena: Arena, chance: random.Random) -> str:
    """As systemd does for an update; it is started again."""
    return _strike_one(arena, chance, [host.pid for host in arena.cluster], "told to stop", signal.SIGTERM)


def tell_a_worker_to_stop(arena: Arena, chance: random.Random) -> str:
    """It gives back what is left of its chunk."""
    return _strike_one(arena, chance, arena.workers(), "told to stop", signal.SIGTERM)


def freeze_a_worker(arena: Arena, chance: random.Random) -> str:
    """Until its lease has ended: it wakes up and finds that others have done its work."""
    alive = arena.workers()
    if not alive:
        return "nobody lives"
    pid = chance.choice(alive)
    arena.strike(pid, "frozen", signal.SIGSTOP)
    settings = arena.producer.settings
    arena.later(settings.lease_s + 2 * settings.sweep_s, lambda: signal_process(pid, signal.SIGCONT))
    return f"process {pid}"


def freeze_in_a_finish(arena: Arena, chance: random.Random) -> str:
    """At the n-th file that a process puts into its place; its session ends, and it wakes when others have finished."""
    n = chance.randint(2, 6)
    beside = arena.freeze.with_suffix(".new")
    beside.write_text(str(n))
    beside.rename(arena.freeze)
    arena.story(lambda: _wake_when_others_have_finished(arena))
    return f"the first to come to its placement {n}"


def _wake_when_others_have_finished(arena: Arena) -> None:
    deadline = time.monotonic() + _HIT_S
    while not (hits := [path for path in arena.folder.glob(f"{arena.freeze.name}.*") if path.suffix[1:].isdigit()]):
        if time.monotonic() > deadline:
            arena.freeze.unlink(missing_ok=True)
            arena.remarks.append("nobody came to the placement at which to freeze")
            return
        time.sleep(0.02)
    pid = _taken(hits[0])
    arena.strike(pid, "frozen")
    try:
        held = patiently(
            lambda: arena.ask(
                "SELECT id FROM jobs WHERE state = 'running' AND worker_id LIKE :worker", worker=f"%/{pid}-%"
            )
        )
        time.sleep(0.5)  # a server that ends sessions waits for a while, too
        arena.remarks.append(f"{pid} froze in a finish of {len(held)} jobs; {_end_its_session(arena)} sessions ended")
        _wait_until_done(arena, [row.id for row in held])
    finally:
        signal_process(pid, signal.SIGCONT)


def _taken(hit: Path) -> int:
    hit.unlink()
    return int(hit.suffix[1:])


def _end_its_session(arena: Arena) -> int:
    """End the sessions that have left a transaction open: only a frozen process leaves one for so long."""
    if arena.postgres is None:
        return 0
    idle = "state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '0.4 s'"
    query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {idle}"
    return len(patiently(lambda: arena.ask(query)))


def _wait_until_done(arena: Arena, ids: list[int]) -> None:
    """Wait until other processes have finished these jobs, or some leases long: a frozen process may hold the table."""
    deadline = time.monotonic() + _LEASES * arena.producer.settings.lease_s
    chosen = ", ".join(map(str, ids)) or "NULL"
    query = f"SELECT count(*) FROM jobs WHERE id IN ({chosen}) AND state IN ('queued', 'running')"
    while time.monotonic() < deadline and patiently(lambda: arena.ask(query))[0][0]:
        time.sleep(0.1)


def _strike_one(arena: Arena, chance: random.Random, among: list[int], how: str, number: signal.Signals) -> str:
    if not among:
        return "nobody lives"
    pid = chance.choice(among)
    arena.strike(pid, how, number)
    return f"process {pid}"


EVENTS = {
    "kill a worker": kill_a_worker,
    "kill a Celery process": kill_a_celery_process,
    "kill a supervisor": kill_a_supervisor,
    "stop a supervisor": stop_a_supervisor,
    "tell a worker to stop": tell_a_worker_to_stop,
    "freeze a worker": freeze_a_worker,
    "freeze in a finish": freeze_in_a_finish,
}
