"""The view of `wavemill status --watch`: one batch, or all batches and the workers, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wavemill.text.terminal import console
from wavemill_cli.printing import duration, number_of, table
from wavemill_producer.batch import FINISHED
from wavemill_producer.cli.status import batch_lines, rate
from wavemill_producer.notebook import counts

if TYPE_CHECKING:
    from rich.console import Group

    from wavemill_producer.batch import Batch
    from wavemill_producer.producer import Producer

_REFRESH_S = 0.5  # often enough for a reader
_BAR_WIDTH, _WIDE_BAR_WIDTH = 16, 50  # characters
_OTHER_LINES = 6  # of the view of all batches, besides a line for each batch and worker
View = Callable[[], tuple["Group", bool]]


def watch(producer: Producer, batch_id: str | None, limit: int) -> None:
    """Show a batch until it is finished, or everything until Ctrl-C."""
    from rich.live import Live

    view = _view_of_all(producer, limit) if batch_id is None else _view_of(producer.batch(batch_id))
    shown, finished = view()
    on = console()
    # Drawn twice a second and never in between: each frame is one write over the last one.
    with Live(shown, console=on, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        live.refresh()
        while not finished:
            time.sleep(_REFRESH_S)  # the table does not notify anybody of changes
            shown, finished = view()
            live.update(shown, refresh=True)


def bar(status: Mapping[str, Any], *, width: int) -> str:
    """Draw how many of a batch's jobs are final: `████░░░░  50%`."""
    final = status["total"] - status["counts"]["queued"] - status["counts"]["running"]
    share = final / status["total"] if status["total"] else 1.0
    full = int(share * width)
    return f"{'█' * full}{'░' * (width - full)} {int(100 * share):3d}%"


def _view_of(batch: Batch) -> View:
    def view() -> tuple[Group, bool]:
        from rich.console import Group
        from rich.text import Text

        status = batch.status()
        lines = [*batch_lines(status), bar(status, width=_WIDE_BAR_WIDTH)]
        return Group(*map(Text, lines)), status["state"] in FINISHED

    return view


def _view_of_all(producer: Producer, limit: int) -> View:
    def view() -> tuple[Group, bool]:
        from rich.console import Group
        from rich.text import Text

        workers, left, troubles = producer.workers(), producer.all_left(), producer.troubles()
        room = console().height - _OTHER_LINES - len(workers) - len(troubles)
        newest = producer.batches(limit=max(1, min(limit, room)))
        columns = ["batch", "name", "state", "progress", "jobs", "jobs/s", "left"]
        rows = [
            [
                one["id"],
                one["name"],
                one["state"],
                bar(one, width=_BAR_WIDTH),
                counts(one),
                one["jobs_per_second"],
                duration(one["eta_s"]),
            ]
            for one in newest
        ]
        n_left = number_of(left["jobs_left"], "job")
        lines = [
            "",
            f"{n_left} left in all, rate {rate(left)}, time left {duration(left['eta_s'])}",
            f"{number_of(len(workers), 'worker')} alive",
            *[f"  {row['id']}: {row['jobs_done']} jobs done" for row in workers],
            *[f"trouble: {trouble}" for trouble in troubles],
        ]
        return Group(table(columns, rows, whole=("batch", "progress")), *map(Text, lines)), False

    return view
