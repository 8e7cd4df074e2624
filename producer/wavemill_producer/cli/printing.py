"""What commands print: JSON for programs, tables and sentences for people."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(value: Any) -> None:
    """Print one JSON document on one line; times in ISO 8601."""
    click.echo(json.dumps(value, default=_json_default, ensure_ascii=False))


def _json_default(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table as wide as the terminal; in full where there is none."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 240
    console.print(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Build a table without any markup in its cells."""
    from rich.table import Table
    from rich.text import Text

    result = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        result.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return result


def duration(seconds: float | None) -> str:
    """Say a time span for people."""
    if seconds is None:
        return "unknown"
    return str(dt.timedelta(seconds=round(seconds)))


def counts(status: Mapping[str, Any]) -> str:
    """Say how many jobs are in each state, leaving out the zeros."""
    return ", ".join(f"{count} {state}" for state, count in status["counts"].items() if count) or "empty"
