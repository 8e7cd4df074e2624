"""`wavemill status` and `wavemill wait`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from wavemill.text.secrets_in_urls import without_secrets
from wavemill_cli.printing import (
    duration,
    json_option,
    number_of,
    print_json,
    print_table,
    say,
)
from wavemill_producer.cli.batch_names import BatchName
from wavemill_producer.cli.logs import warn_on_stderr
from wavemill_producer.notebook import counts

if TYPE_CHECKING:
    from wavemill_producer.batch import Batch
    from wavemill_producer.producer import Producer

_STANDSTILL_S = 10.0  # without any progress, before the reason is looked for
_START_ONE = "start one with: wavemill up, or wavemill worker"
EXIT_SOME_FAILED = 3


@click.command()
@click.argument("batch_id", metavar="[BATCH]", required=False, type=BatchName())
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only batches with this tag; repeatable.")
@click.option("--watch", is_flag=True, help="Refresh until the batch is finished or you press Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many batches."
)
@json_option
def status(batch_id: str | None, tags: tuple[str, ...], watch: bool, limit: int, as_json: bool) -> None:
    """Show the newest batches and the living workers, or one batch.

    BATCH is a batch's ID or name.

    Example: wavemill status 20260101-120000-1a2b3c4d --watch
    """
    from wavemill.jobs.tags import tags_from
    from wavemill_producer.producer import Producer

    if tags and (watch or batch_id is not None):
        raise click.UsageError("--tag lists batches: leave out BATCH and --watch")
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other: choose one")
    warn_on_stderr()
    with Producer.from_env(**({"patience_s": None} if watch else {})) as producer:
        if watch:
            from wavemill_producer.cli.watch import watch as watch_until_finished

            watch_until_finished(producer, batch_id, limit)
        elif batch_id is not None:
            _show_batch(producer.batch(batch_id), as_json=as_json)
        else:
            _show_all(producer, limit, tags_from(tags), as_json=as_json)


def _show_batch(batch: Batch, *, as_json: bool) -> None:
    status = batch.status()
    if as_json:
        print_json(status)
        return
    for line in batch_lines(status):
        say(line)
    for delivery in batch.deliveries()[-1:]:
        say(f"webhook  {_delivery(delivery)}")


def _delivery(delivery: Mapping[str, Any]) -> str:
    if delivery["delivered_at"] is not None:
        return f"delivered at {delivery['delivered_at']:%Y-%m-%d %H:%M:%S} UTC"
    if delivery["error"] is None:
        return "due; made by a worker's supervisor or the page that has WAVEMILL_WEBHOOK_SECRET"
    given_up = "given up" if delivery["due_at"] is None else f"again at {delivery['due_at']:%Y-%m-%d %H:%M:%S} UTC"
    return f"attempt {delivery['attempts']} failed: {delivery['error']}; {given_up}"


def batch_lines(status: Mapping[str, Any]) -> list[str]:
    """Describe a batch in a few lines."""
    tags = " ".join(f"{key}={value}" for key, value in status["tags"].items())
    parts = [f"{word} {status[key]}" for word, key in (("with", "model"), ("from", "dataset")) if status[key]]
    return [
        f"batch    {status['id']}" + (f"  ({status['name']})" if status["name"] else ""),
        f"work     {' '.join([status['operation'], *parts])}",
        f"output   {status['output']}/{status['id']}",
        f"state    {status['state']}: {counts(status)} of {status['total']}",
        f"rate     {rate(status)}, time left {duration(status['eta_s'])}",
        *([f"tags     {tags}"] if tags else []),
    ]


def rate(status: Mapping[str, Any]) -> str:
    """Format how fast a batch, or all of them, are."""
    per_second = status["jobs_per_second"]
    return "unknown" if per_second is None else f"{per_second:.1f} jobs/s"


def _show_all(producer: Producer, limit: int, tags: Mapping[str, str], *, as_json: bool) -> None:
    newest = producer.batches(limit=limit + 1, tags=tags)
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
        say(f"{n_left} left in all, rate {rate(left)}, time left {duration(left['eta_s'])}")
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
            counts(b),
            b["jobs_per_second"],
            duration(b["eta_s"]),
        ]
        for b in batches
    ]
    return columns, rows


@click.command()
@click.argument("batch_ids", metavar="BATCH...", nargs=-1, required=True, type=BatchName())
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), help="Give up after this many seconds, with exit code 1."
)
@json_option
@click.pass_context
def wait(ctx: click.Context, batch_ids: Sequence[str], timeout_s: float | None, as_json: bool) -> None:
    """Wait until batches are finished; exit code 3 if some of their jobs failed or were cancelled.

    BATCH is a batch's ID or name.
    If the table does not answer, the command waits for it too, until --timeout.

    Example: wavemill wait 20260101-120000-1a2b3c4d
    """
    from time import monotonic

    from wavemill_producer.producer import Producer

    warn_on_stderr()
    begun = monotonic()
    code = 0
    with Producer.from_env(patience_s=timeout_s) as producer:
        batches = [producer.batch(batch_id) for batch_id in batch_ids]
        say_if_nobody_works(producer)
        for batch in batches:
            left_s = None if timeout_s is None else max(0.0, timeout_s - (monotonic() - begun))
            code = max(code, wait_for(batch, quiet=as_json, timeout_s=left_s))
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
    from wavemill_producer.progress import shown_progress

    last: dict[str, Any] = {}
    with shown_progress(quiet=quiet) as bar:
        standstill = _Standstill(batch)

        def show(status: dict[str, Any]) -> None:
            check()
            last.update(status)
            bar(status)
            finished = status["total"] - status["counts"]["queued"] - status["counts"]["running"]
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
        say(f"batch {batch.id}: {counts(last)}; outputs: {last['output']}/{batch.id}", err=True)
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
