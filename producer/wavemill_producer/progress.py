"""Shows the progress of a batch: a bar in a terminal or in a notebook, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wavemill.text.terminal import progress_bar
from wavemill_producer.notebook import progress_html

Tell = Callable[[dict[str, Any]], None]


@contextmanager
def shown_progress(*, quiet: bool = False) -> Iterator[Tell]:
    """Yield a function that is given each status, and shows it until the block ends."""
    if (display := _notebook_display()) is not None and not quiet:
        yield display
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with progress_bar(*columns, TimeElapsedColumn(), quiet=quiet) as bar:
        task = bar.add_task("rendering", total=None, left="")

        def show(status: dict[str, Any]) -> None:
            finished = status["total"] - status["counts"]["queued"] - status["counts"]["running"]
            bar.update(task, total=status["total"], completed=finished, left=rate_and_left(status))

        yield show


def rate_and_left(status: dict[str, Any]) -> str:
    """Say how fast a batch is, and how long it still takes: `12.3 jobs/s, 0:01:02 left`; nothing if unknown."""
    from datetime import timedelta

    rate, left_s = status["jobs_per_second"], status["eta_s"]
    parts = [] if rate is None else [f"{rate:.1f} jobs/s"]
    return ", ".join(parts + ([f"{timedelta(seconds=round(left_s))} left"] if left_s else []))


def _notebook_display() -> Tell | None:
    """Return a function that shows a status below the notebook's cell; None outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display  # type: ignore[import-not-found]

    handle = display(HTML(""), display_id=True)
    return lambda status: handle.update(HTML(progress_html(status)))
