"""What happens when: drawn from a seed, so that a run that failed can be played again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Event -> how often, relative to the others.
EVERYTHING = {
    "kill a worker": 8,
    "kill a Celery process": 2,
    "kill a supervisor": 1,
    "stop a supervisor": 1,
    "tell a worker to stop": 1,
    "freeze a worker": 1,
    "flush the broker": 1,
    "restart the broker": 1,
    "repeat messages": 2,
    "slow disk": 1,
    "full disk": 1,
    "pause the batch": 1,
}

# As the target of the release has it: workers die, the rest comes at certain times.
DEATHS = {"kill a worker": 1}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens `at_s` after the start; `which` picks the victim among those that live."""

    at_s: float
    name: str
    which: int


def schedule(
    seed: int, *, weights: Mapping[str, int], mean_gap_s: float, certain: Sequence[tuple[float, str]] = ()
) -> Iterator[Event]:
    """Yield events for ever, about one every `mean_gap_s`, and among them those of `certain` at their times."""
    chance = random.Random(seed)
    waiting = sorted(certain)
    at_s = 0.0
    while True:
        at_s += mean_gap_s * chance.uniform(0.4, 1.6)
        while waiting and waiting[0][0] <= at_s:
            when, name = waiting.pop(0)
            yield Event(at_s=when, name=name, which=chance.randrange(1 << 16))
        (name,) = chance.choices(list(weights), weights=list(weights.values()))
        yield Event(at_s=at_s, name=name, which=chance.randrange(1 << 16))
