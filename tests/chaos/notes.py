"""What the hosts' processes have noted by themselves: births, deaths by an input, files put into their places."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def notes(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the notes of all processes; see `support/machine.py`."""
    for log in folder.iterdir():
        for line in log.read_text().splitlines():
            yield json.loads(line)


class Family:
    """Which process was whose child."""

    def __init__(self, all_notes: Sequence[dict[str, Any]]) -> None:
        self._parents = {note["pid"]: note["parent"] for note in all_notes if note["event"] == "born"}

    def line_of(self, pid: int) -> list[int]:
        """Return a process and those that it came from, as far as they are hosts' processes."""
        line = [pid]
        while (parent := self._parents.get(line[-1])) is not None and parent not in line:
            line.append(parent)
        return line
