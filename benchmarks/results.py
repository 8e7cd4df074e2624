"""Keep what a run found: one Markdown file each, named by date and commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import REPOSITORY
from benchmarks.row import Row, table

RESULTS = REPOSITORY / "benchmarks" / "results"


def keep(folder: Path, machine: Mapping[str, str], rows: Sequence[Row], *, parts: Sequence[str] = ()) -> Path:
    """Write the file, named after the parts too if not all were run; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "-".join([machine["date"], machine["commit"].partition(",")[0], *parts])
    path = folder / f"{name}.md"
    path.write_text(report(machine, rows), encoding="utf-8")
    return path


def report(machine: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Return machine and table as Markdown."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return f"# wavemill, measured {machine['date']}\n\n{facts}\n\n{table(rows)}\n"
