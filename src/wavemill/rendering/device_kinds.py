"""Kinds of devices beyond the CPU and GPUs: an extension point for other packages.

A package adds a kind by an entry point of the group `wavemill.devices`. The entry's name is the
kind's name, and its object is a `DeviceKind`. In a `pyproject.toml`:

    [project.entry-points."wavemill.devices"]
    mine = "my_package.devices:MINE"

`wavemill worker --devices mine` or `--devices mine:OPTIONS` then starts workers of that kind.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Protocol

from wavemill.errors import UsageError
from wavemill.jobs.database import Database
from wavemill.rendering.chunk_worker import ChunkWorker
from wavemill.settings import Settings

GROUP = "wavemill.devices"


class DeviceKind(Protocol):
    """A kind of device. A device is the text `NAME` or `NAME:OPTIONS`, as the user gave it."""

    def check(self, device: str) -> None:
        """Raise UsageError, with one sentence, if the device's options are wrong."""

    def chunk_worker(
        self, device: str, database: Database, settings: Settings, *, worker_id: str, stop: threading.Event
    ) -> ChunkWorker:
        """Build what does the work, in the worker's child process; see `ChunkWorker` for the arguments."""


@lru_cache(maxsize=64)
def device_kind(device: str) -> DeviceKind | None:
    """Return the kind of a device, after it has checked the options; None if no package has that kind.

    Raises
    ------
    UsageError
        The options are wrong, or the package's entry point cannot be loaded.
    """
    name = device.partition(":")[0]
    for entry in entry_points(group=GROUP, name=name):
        try:
            kind: DeviceKind = entry.load()
        except (ImportError, AttributeError) as exc:
            raise UsageError(f"--devices {device}: {entry.value} cannot be loaded: {exc}") from exc
        kind.check(device)
        return kind
    return None
