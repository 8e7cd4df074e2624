"""Shows what a command finds in many recordings: its progress, and its problems."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import PurePosixPath

from wavemill.text.terminal import progress_bar
from wavemill_cli.printing import say

_PROBLEMS_SHOWN = 5


def print_problems(kind: str, problems: Sequence[tuple[str, str]]) -> None:
    """Print a few problems, and how many more there are."""
    for path, reason in _telling(problems):
        say(f"  {kind}: {path}: {_without_name(path, reason)}")
    if len(problems) > _PROBLEMS_SHOWN:
        say(f"  {kind}: and {len(problems) - _PROBLEMS_SHOWN} more; all of them with --json")


def _without_name(path: str, reason: str) -> str:
    return reason.removeprefix(f"{PurePosixPath(path).name}: ")


def _telling(problems: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return a few problems in their order, if possible one of each kind."""
    kinds: dict[str, tuple[str, str]] = {}
    for path, reason in problems:
        kinds.setdefault(_without_name(path, reason), (path, reason))
    chosen = list(kinds.values())[:_PROBLEMS_SHOWN]
    others = (problem for problem in problems if problem not in chosen)
    return sorted([*chosen, *islice(others, _PROBLEMS_SHOWN - len(chosen))], key=problems.index)


@contextmanager
def spectrogram_bar(noun: str = "spectrograms") -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function that shows progress on the terminal; None if there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task(noun, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
