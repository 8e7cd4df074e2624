"""`wavemill status` and `wavemill wait`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.terminal import console, progress_bar
from wavemill_cli.printing import (
    duration,
    json_option,
    number_of,
    print_json,
    print_table,
    say,
    table,
    warn_on_stderr,
)

if TYPE_CHECKING:
    from rich.table import Table

    from wavemill_producer.batch import Batch
    from wavemill_producer.producer import Producer

_REFRESH_S = 0.5
_STANDSTILL_S = 10.0  # without any progress, before the reason is looked for
_START_ONE = "start one with: wavemill up, or wavemill worker"
EXIT_SOME_FAILED = 3


@click.command()
@click.argument("batch_id", metavar="[BATCH]", required=False)
@click.option("--watch", is_flag=True, help="Refresh until the batch is finished or you press Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many batches."
)
@json_option
def status(batch_id: str | None, watch: bool, limit: int, as_json: bool) -> None:
    """Show the newest batches and the living workers, or one batch.

    BATCH is a batch's ID or name.

    Example: wavemill status 20260101-120000-1a2b3c4d --watch
    """
    from wavemill_producer.producer import Producer

    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other: choose one")
    warn_on_stderr()
    with Producer.from_env(**({"patience_s": None} if watch else {})) as producer:
        if watch:
            _watch(producer, batch_id, limit)
        elif batch_id is not None:
            _show_batch(producer.batch(batch_id).status(), as_json=as_json)
        else:
            _show_all(producer, limit, as_json=as_json)


def _show_batch(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    say(f"batch    {status['id']}" + (f"  ({status['name']})" if status["name"] else ""))
    parts = [f"{word} {status[key]}" for word, key in (("with", "model"), ("from", "dataset")) if status[key]]
    say(f"work     {' '.join([status['operation'], *parts])}")
    say(f"output   {status['output']}/{status['id']}")
    say(f"state    {status['state']}: {_counts(status)} of {status['total']}")
    say(f"rate     {_rate(status)}, time left {duration(status['eta_s'])}")


def _rate(status: dict[str, Any]) -> str:
    rate = status["jobs_per_second"]
    return "unknown" if rate is None else f"{rate:.1f} jobs/s"


def _show_all(producer: Producer, limit: int, *, as_json: bool) -> None:
    newest = producer.batches(limit=limit + 1)
    batches, is_cut = newest[:limit], len(newest) > limit
    workers, left = producer.workers(), producer.all_left()
    refused, troubles = producer.refused_models(), producer.troubles()
    if as_json:
        alive = [dict(row) for row in workers]
        print_json({"batches": batches, "workers": alive, "left": left, "refused": refused, "troubles": troubles})
        return
    if not batches:
        table_url = without_secrets(producer.settings.sqlalchemy_url)
        say(f"no batch yet in {table_url}; how to queue one: wavemill submit reconstruct --help")
    else:
        print_table(*_batches_table(batches), whole=("batch",))
    if is_cut:
        say(f"older batches are not shown; --limit shows more than {limit}")
    if left["jobs_left"]:
        n_left = number_of(left["jobs_left"], "job")
        say(f"{n_left} left in all, rate {_rate(left)}, time left {duration(left['eta_s'])}")
    say(f"{number_of(len(workers), 'worker')} alive" + ("" if workers else f"; {_START_ONE}"))
    for row in workers:
        say(f"  {row['id']}: {row['jobs_done']} jobs done")
    for model in refused:
        say(refusal(model))
    for trouble in troubles:
        say(f"trouble: {trouble}")


def refusal(model: Mapping[str, Any]) -> str:
    """Describe which workers lack a model, who needs it, and whether others may serve it."""
    name = f"model {model['model'] or '?'} ({model['model_digest'][:12]})"
    who, why = next(iter(model["workers"].items()))
    others = len(model["workers"]) - 1
    lacking = f"{who} and {others} more refuse it" if others else f"{who} refuses it"
    then = "others may serve it" if model["may_be_served"] else "no living worker can serve it"
    return f"{name}, needed by {model['open_batches']} open batches: {lacking}; {then}; {why}"


def _batches_table(batches: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    columns = ["batch", "name", "operation", "state", "total", "jobs", "jobs/s", "left"]
    rows = [
        [
            b["id"],
            b["name"],
            b["operation"],
            b["state"],
            b["total"],
            _counts(b),
            b["jobs_per_second"],
            duration(b["eta_s"]),
        ]
        for b in batches
    ]
    return columns, rows


def _watch(producer: Producer, batch_id: str | None, limit: int) -> None:
    import time

    from rich.live import Live

    from wavemill_producer.batch import FINISHED

    batch = None if batch_id is None else producer.batch(batch_id)

    def view() -> tuple[Table, bool]:
        if batch is None:
            batches, finished = producer.batches(limit=limit), False
        else:
            batches = [batch.status()]
            finished = batches[0]["state"] in FINISHED
        return table(*_batches_table(batches), whole=("batch",)), finished

    shown, finished = view()
    with Live(shown, console=console(), redirect_stdout=False, redirect_stderr=False) as live:
        while not finished:
            time.sleep(_REFRESH_S)  # often enough for a reader
            shown, finished = view()
            live.update(shown)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), help="Give up after this many seconds, with exit code 1."
)
@json_option
@click.pass_context
def wait(ctx: click.Context, batch_id: str, timeout_s: float | None, as_json: bool) -> None:
    """Wait until a batch is finished; exit code 3 if some of its jobs failed or were cancelled.

    BATCH is a batch's ID or name.
    If the table does not answer, the command waits for it too, until --timeout.

    Example: wavemill wait 20260101-120000-1a2b3c4d
    """
    from time import monotonic

    from wavemill_producer.producer import Producer

    warn_on_stderr()
    begun = monotonic()
    with Producer.from_env(patience_s=timeout_s) as producer:
        batch = producer.batch(batch_id)
        say_if_nobody_works(producer)
        left_s = None if timeout_s is None else max(0.0, timeout_s - (monotonic() - begun))
        code = wait_for(batch, quiet=as_json, timeout_s=left_s)
        if as_json:
            print_json(batch.status())
        ctx.exit(code)


def say_if_nobody_works(producer: Producer) -> None:
    """Warn on standard error, before a wait, if no worker is alive."""
    if not producer.workers():
        is_starting = producer.supervisor_count() > 0
        say("a worker is starting" if is_starting else f"no worker is alive; {_START_ONE}", err=True)


def wait_for(
    batch: Batch, *, quiet: bool, timeout_s: float | None = None, check: Callable[[], None] = lambda: None
) -> int:
    """Wait with a progress bar; return the exit code. `check` runs at each poll and may raise."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last: dict[str, Any] = {}
    with progress_bar(*columns, quiet=quiet) as bar:
        task = bar.add_task("rendering", total=None)
        standstill = _Standstill(batch)

        def show(status: dict[str, Any]) -> None:
            check()
            last.update(status)
            finished = status["total"] - status["counts"]["queued"] - status["counts"]["running"]
            bar.update(task, total=status["total"], completed=finished)
            if reason := standstill.new_reason(finished):
                say(f"waiting: {reason}", err=True)

        try:
            state = batch.wait(timeout_s=timeout_s, progress=show)
        except TimeoutError as exc:
            raise click.ClickException(str(exc)) from exc
        except KeyboardInterrupt:
            say(f"the batch continues; wait for it again with: wavemill wait {batch.id}", err=True)
            raise
    if not quiet:
        say(f"batch {batch.id}: {_counts(last)}; outputs: {last['output']}/{batch.id}", err=True)
        if last["counts"]["failed"]:
            say(f"why: wavemill jobs --batch {batch.id} --state failed", err=True)
    return 0 if state == "done" else EXIT_SOME_FAILED


class _Standstill:
    """Notices that a batch makes no progress, and finds out why; tells each reason once."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._finished = -1
        self._since = 0.0
        self._told: set[str] = set()

    def new_reason(self, finished: int) -> str | None:
        """Return why nothing was finished for a while, if that is known and was not told before."""
        from time import monotonic

        if finished != self._finished:
            self._finished, self._since = finished, monotonic()
        if monotonic() - self._since < _STANDSTILL_S:
            return None
        self._since = monotonic()
        reason = self._batch.why_queued()
        if reason is None or reason in self._told:
            return None
        self._told.add(reason)
        return reason


def _counts(status: Mapping[str, Any]) -> str:
    """Format how many jobs are in each state, without the zeros."""
    return ", ".join(f"{count} {state}" for state, count in status["counts"].items() if count) or "empty"
