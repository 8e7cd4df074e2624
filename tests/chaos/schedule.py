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

# Each once, in an order in which none hides another; the longest first.
FAULTS = (
    "lose the table for three leases",
    "make the table read-only",
    "mute the network",
    "freeze in a finish",
    "lose the spectrograms",
    "send bad messages",
    "queue killers first",
    "lose the dataset",
    "hush the table's connections",
    "freeze in a finish",
    "make the outputs read-only",
    "prune under a frozen worker",
    "hush the broker's connections",
    "fill the table's disk",
    "damage the broker's file",
    "lose the outputs",
    "fill the broker's memory",
    "make the broker a replica",
    "queue small batches",
    "freeze in a finish",
    "restart the database",
)
# The essential ones, for leases of three seconds.
SHORT = (
    (1.5, "freeze in a finish"),
    (4.0, "lose the table for three leases"),
    (5.0, "send bad messages"),
    (6.0, "queue killers first"),
    (10.0, "lose the spectrograms"),
    (16.0, "make the table read-only"),
    (24.0, "lose the outputs"),
    (30.0, "mute the network"),
)
CLOCKS = ("set the broker's clock back", "set the hosts' clock ahead")


def spread(names: Sequence[str], *, first_s: float, gap_s: float) -> list[tuple[float, str]]:
    """Return when each is certain to happen."""
    return [(first_s + k * gap_s, name) for k, name in enumerate(names)]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens `at_s` after the start; `which` picks the victim among those that live."""

    at_s: float
    name: str
    which: int
    is_certain: bool = False


def schedule(
    seed: int, *, weights: Mapping[str, int], mean_gap_s: float, certain: Sequence[tuple[float, str]] = ()
) -> Iterator[Event]:
    """Yield events about every `mean_gap_s`, those of `certain` at their times; without weights only the latter."""
    chance = random.Random(seed)
    waiting = sorted(certain)
    at_s = 0.0
    while weights or waiting:
        at_s += mean_gap_s * chance.uniform(0.4, 1.6)
        while waiting and waiting[0][0] <= at_s:
            when, name = waiting.pop(0)
            yield Event(at_s=when, name=name, which=chance.randrange(1 << 16), is_certain=True)
        if weights:
            (name,) = chance.choices(list(weights), weights=list(weights.values()))
            yield Event(at_s=at_s, name=name, which=chance.randrange(1 << 16))
