"""What happens to the table: it is gone, locked, full, read-only, and its clock is set."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import psycopg
from chaos.arena import Arena, patiently
from chaos.processes import signal_process
from sqlalchemy import make_url

_OUTAGE_S = (0.5, 2.0)
_LEASES = 3.6  # longer than what three chances would last
_HOLD_THE_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


def restart(arena: Arena, chance: random.Random) -> str:
    """Crash it, and start it again soon."""
    if arena.postgres is None:
        return "SQLite has no server"
    return _crash(arena, chance.uniform(*_OUTAGE_S))


def lose_for_leases(arena: Arena, _chance: random.Random) -> str:
    """For longer than three leases: crashed, or its write lock in another process's hands."""
    lease_s = arena.producer.settings.lease_s
    if arena.postgres is not None:
        return _crash(arena, _LEASES * lease_s)
    outage_s = max(_LEASES * lease_s, arena.lock_s)
    hold_the_lock(arena, outage_s)
    return f"locked by another process for {outage_s:.0f} s"


def _crash(arena: Arena, outage_s: float) -> str:
    assert arena.postgres is not None
    arena.postgres.crash()
    time.sleep(outage_s)  # how long it is gone is what is tried
    arena.postgres.start()
    return f"gone for {outage_s:.1f} s"


def hold_the_lock(arena: Arena, seconds: float) -> None:
    """Hold SQLite's write lock in a process of its own, as a backup would."""
    command = [sys.executable, "-c", _HOLD_THE_LOCK, str(arena.table_file), str(seconds)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=seconds + 90)


def fill_its_disk(arena: Arena, _chance: random.Random) -> str:
    """No room for two leases."""
    if arena.postgres is not None:
        return "SQLite's file only: PostgreSQL itself ends on a full disk"
    if not arena.table_disk.is_mounted:
        return "SKIPPED: only root may mount a disk of its own"
    arena.table_disk.fill()
    outage_s = 2 * arena.producer.settings.lease_s
    arena.later(outage_s, arena.table_disk.empty)
    return f"for {outage_s:.0f} s"


def make_it_read_only(arena: Arena, chance: random.Random) -> str:
    """As a failover does, for two leases and more; meanwhile a Celery process dies."""
    if arena.postgres is None:
        return "SQLite's file cannot be toggled under its writers"
    lease_s = arena.producer.settings.lease_s
    _set_read_only(arena, on=True)
    alive = arena.celery_processes()
    victim = chance.choice(alive) if alive else None

    def end() -> None:
        time.sleep(0.7 * lease_s)
        if victim is not None:
            arena.strike(victim, "killed")
            signal_process(victim, signal.SIGKILL)
        time.sleep(1.8 * lease_s)
        patiently(lambda: _set_read_only(arena, on=False))

    arena.story(end)
    return f"for {2.5 * lease_s:.0f} s; process {victim} dies meanwhile"


def _set_read_only(arena: Arena, *, on: bool) -> None:
    assert arena.postgres is not None
    url = make_url(arena.postgres.url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
            connection.execute("SELECT pg_reload_conf()")
    except psycopg.OperationalError as exc:
        raise ConnectionError(str(exc)) from exc


def set_the_hosts_clock(arena: Arena, _chance: random.Random) -> str:
    """SQLite's clock is its host's: it goes an hour ahead, and back again."""
    if arena.postgres is not None:
        return "PostgreSQL's clock is that of its server"
    arena.host_clock.step(3_600)
    ahead_s = 2 * arena.producer.settings.lease_s
    arena.later(ahead_s, lambda: arena.host_clock.step(0))
    return f"an hour ahead, for {ahead_s:.0f} s"


EVENTS = {
    "restart the database": restart,
    "lose the table for three leases": lose_for_leases,
    "fill the table's disk": fill_its_disk,
    "make the table read-only": make_it_read_only,
    "set the hosts' clock ahead": set_the_hosts_clock,
}
