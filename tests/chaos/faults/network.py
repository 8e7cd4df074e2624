"""What happens between hosts and servers: connections fall silent, and nobody says so."""

from __future__ import annotations

import random

from chaos.arena import Arena

_MUTE_S = 8.0


def hush_the_broker(arena: Arena, _chance: random.Random) -> str:
    """Its connections take bytes and give none; new ones work."""
    return f"{arena.broker_proxy.silence()} connections"


def hush_the_table(arena: Arena, _chance: random.Random) -> str:
    """As the broker's."""
    if arena.table_proxy is None:
        return "SQLite has no connections"
    return f"{arena.table_proxy.silence()} connections"


def mute_everything(arena: Arena, _chance: random.Random) -> str:
    """Every connection falls silent, and for a while each new one, too."""
    proxies = [proxy for proxy in (arena.broker_proxy, arena.table_proxy) if proxy is not None]
    count = sum(proxy.silence(new=True) for proxy in proxies)
    arena.later(_MUTE_S, lambda: [proxy.speak() for proxy in proxies])
    return f"{count} connections, and new ones for {_MUTE_S:.0f} s"


EVENTS = {
    "hush the broker's connections": hush_the_broker,
    "hush the table's connections": hush_the_table,
    "mute the network": mute_everything,
}
