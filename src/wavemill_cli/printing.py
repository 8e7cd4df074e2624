"""What commands print: JSON for programs, tables and sentences for people."""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from wavemill.text.log_lines import JSON
from wavemill.text.secrets_in_urls import places_without_secrets, without_secrets
from wavemill.text.shown import json_text, shown
from wavemill.text.terminal import GuardedStream, console

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

_NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # characters that no valid ID has

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, one object a line.")


def print_json(value: Any, *, allow_nan: bool = True) -> None:
    """Print one JSON document on one line; times in ISO 8601, passwords in URLs left out."""
    click.echo(json_text(places_without_secrets(value), default=_json_default, allow_nan=allow_nan))


def say(sentence: object = "", *, err: bool = False) -> None:
    """Print one line for people, control characters escaped and passwords left out.

    `err` prints to standard error.
    """
    click.echo(shown(without_secrets(str(sentence))), err=err)


def print_id(spectrogram_id: str) -> None:
    """Print an ID, unchanged if a program reads it: it may hold zero-width joiners, say."""
    stream = sys.stdout
    write = stream.write_as_is if isinstance(stream, GuardedStream) else stream.write
    is_exact = not (stream.isatty() or _NO_LINE.search(spectrogram_id))
    write(f"{spectrogram_id if is_exact else shown(spectrogram_id)}\n")


def tell(sentence: object, log_format: str) -> None:
    """Tell an operator something on standard error: as a line for people, or as a log line where those are JSON."""
    if log_format == JSON:
        logger.setLevel(logging.INFO)
        logger.info("%s", sentence)
    else:
        say(sentence, err=True)


def _json_default(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: Collection[str] = ()) -> None:
    """Print a table as wide as the terminal, or in full if there is no terminal.

    In a terminal too narrow for the `whole` columns, its lines wrap, so that no ID is cut.
    """
    shown_table, on = table(columns, rows, whole=whole), console()
    needed = sum((column.min_width or len(str(column.header))) + 2 for column in shown_table.columns)
    on.width = max(on.width, needed)
    on.print(shown_table)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: Collection[str] = ()) -> Table:
    """Build a table without markup in its cells. Columns in `whole` are never cut or wrapped."""
    from rich.table import Column, Table
    from rich.text import Text

    cells = [[Text("" if cell is None else shown(without_secrets(str(cell)))) for cell in row] for row in rows]
    widths = [max((row[k].cell_len for row in cells), default=0) for k in range(len(columns))]
    headers = [
        Column(name, no_wrap=True, min_width=max(width, len(name))) if name in whole else Column(name)
        for name, width in zip(columns, widths, strict=True)
    ]
    result = Table(*headers, box=None, header_style="bold", pad_edge=False)
    for row in cells:
        result.add_row(*row)
    return result


def duration(seconds: float | None) -> str:
    """Format a time span for people."""
    if seconds is None:
        return "unknown"
    return str(dt.timedelta(seconds=round(seconds)))


def number_of(count: int, noun: str) -> str:
    """Say how many: `1 job`, `2 jobs`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
