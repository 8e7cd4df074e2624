"""Everything that can happen, by name."""

from __future__ import annotations

import random
from collections.abc import Callable

from chaos.arena import Arena
from chaos.faults import batches, broker, files, messages, network, table, workers

# Does it, and returns what it hit. The random numbers come from the schedule's seed.
Event = Callable[[Arena, random.Random], str]

EVENTS: dict[str, Event] = {
    **workers.EVENTS,
    **broker.EVENTS,
    **table.EVENTS,
    **network.EVENTS,
    **files.EVENTS,
    **messages.EVENTS,
    **batches.EVENTS,
}
