"""Bulk actions: `--where` of several commands, `wavemill delete` and `wavemill rerender`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wavemill.jobs.states import State
from wavemill.operations.requests import METHODS
from wavemill_cli.paths import Location
from wavemill_cli.printing import json_option, number_of, print_json, say
from wavemill_producer.cli.logs import warn_on_stderr

if TYPE_CHECKING:
    from wavemill_producer.producer import Producer

F = TypeVar("F", bound=Callable[..., Any])


def where_option(example: str, *, required: bool = False) -> Callable[[F], F]:
    """Return the option --where; several conditions must all hold."""
    text = f"Only jobs that meet it: {example}, ...; repeatable."
    return click.option("--where", multiple=True, required=required, metavar="CONDITION", help=text)


def change_matching(
    producer: Producer,
    action: str,
    *,
    batch: str,
    where: Sequence[str],
    params: Mapping[str, Any] | None = None,
    question: str | None = None,
    quiet: bool,
) -> dict[str, Any]:
    """Say how many jobs match, ask if there is a `question`, and run an action; return its status."""
    from wavemill.errors import WavemillError
    from wavemill.jobs.filters import parse
    from wavemill.jobs.matching import count_matching
    from wavemill_producer.bulk import BulkActions

    batch_id = producer.batch(batch).id
    count, is_exact = count_matching(producer.database, batch_id=batch_id, conditions=parse(where))
    matching = (
        number_of(count, "job") if is_exact else f"{count} or more jobs" if count else "an unknown number of jobs"
    )
    if not quiet:
        say(f"{matching} of batch {batch_id} {'matches' if matching == '1 job' else 'match'}", err=True)
    if question is not None and (count or not is_exact):
        click.confirm(question.format(jobs=matching), abort=True, err=True)
    actions = BulkActions(producer)
    action_id = actions.start(
        action, batch=batch_id, where=where, params=params, is_mine=True, counted=(count, is_exact)
    )
    with _progress(action, quiet=quiet) as told:
        status = actions.run(action_id, told=told)
    if status["state"] != "done":
        raise WavemillError(f"{status['error']}; {number_of(status['changed'], 'job')} had been changed before")
    return status


@contextmanager
def _progress(action: str, *, quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show in a terminal how many of the matching jobs an action has passed."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from wavemill.text.terminal import progress_bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_bar(*columns, quiet=quiet) as bar:
        task = bar.add_task(action, total=None)

        def show(status: Mapping[str, Any]) -> None:
            total = max(status["total"], status["seen"]) if status["is_exact"] else None
            bar.update(task, total=total, completed=status["seen"])

        yield show


@click.command()
@click.argument("batch_id", metavar="BATCH")
@where_option("state=failed, rating<3, id=7_*", required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(batch_id: str, where: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete finished jobs of a batch: their rows and their outputs.

    Jobs that are queued or running stay. To remove whole batches, use `wavemill gc`.

    BATCH is a batch's ID or name.

    Example: wavemill delete 20260101-120000-1a2b3c4d --where 'rating<3'
    """
    from wavemill_producer.producer import Producer

    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: pass --yes to delete without a question")
    question = None if yes else "Delete {jobs} with their outputs, as far as they are finished?"
    with Producer.from_env() as producer:
        status = change_matching(producer, "delete", batch=batch_id, where=where, question=question, quiet=as_json)
    _report(status, f"deleted {number_of(status['changed'], 'job')}", as_json=as_json, deleted=status["changed"])


@click.command()
@click.argument("batch_id", metavar="BATCH")
@where_option("rating<3, log_spectral_distance_db>4")
@click.option("--model", type=Location(), help="Another model.  [default: that of the batch]")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="Another method of phase reconstruction.  [default: that of the batch]",
)
@click.option("--temperature", type=click.FloatRange(min=0), help="Another temperature, for samples and variations.")
@click.option("--output", type=Location(), help="Folder or fsspec URL.  [default: that of the batch]")
@click.option("--name", help="Name of the new batch.")
@json_option
def rerender(batch_id: str, where: tuple[str, ...], as_json: bool, **params: Any) -> None:
    """Render jobs of a batch again, as a new batch, with another model, method or temperature.

    BATCH is a batch's ID or name.

    Example: wavemill rerender 20260101-120000-1a2b3c4d --where 'rating<3' --method fine
    """
    from wavemill_producer.producer import Producer

    warn_on_stderr()
    with Producer.from_env() as producer:
        status = change_matching(producer, "render", batch=batch_id, where=where, params=params, quiet=as_json)
        new, total = status["result"]["batch_id"], status["changed"]
    said = f"queued {number_of(total, 'job')} as batch {new}; follow it with: wavemill status {new} --watch"
    _report(status, said, as_json=as_json, new_batch_id=new, total=total)


def cancel_where(batch_id: str, where: Sequence[str], *, as_json: bool) -> None:
    """Cancel the queued jobs of a batch that match."""
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        status = change_matching(producer, "cancel", batch=batch_id, where=where, quiet=as_json)
    said = f"cancelled {number_of(status['changed'], 'queued job')} of batch {status['batch_id']}"
    _report(status, said, as_json=as_json, cancelled=status["changed"])


def retry_where(batch_id: str, where: Sequence[str], *, only_failed: bool, as_json: bool) -> None:
    """Queue the failed and cancelled jobs of a batch that match again."""
    from wavemill_producer.producer import Producer

    conditions = [f"state={State.FAILED}", *where] if only_failed else where
    with Producer.from_env() as producer:
        status = change_matching(producer, "retry", batch=batch_id, where=conditions, quiet=as_json)
    said = f"queued {number_of(status['changed'], 'job')} of batch {status['batch_id']} again"
    _report(status, said, as_json=as_json, retried=status["changed"])


def rate_where(batch_id: str, where: Sequence[str], rating: int, *, as_json: bool) -> None:
    """Rate the jobs of a batch that match."""
    from wavemill_producer.producer import Producer

    params = {"rating": rating or None}
    with Producer.from_env() as producer:
        status = change_matching(producer, "rate", batch=batch_id, where=where, params=params, quiet=as_json)
    rated = number_of(status["changed"], "job")
    said = f"rated {rated}" if rating else f"took the rating of {rated} away"
    _report(status, said, as_json=as_json, rated=status["changed"])


def _report(status: Mapping[str, Any], sentence: str, *, as_json: bool, **values: object) -> None:
    if as_json:
        print_json({"batch_id": status["batch_id"], **values, "action_id": status["id"]})
    else:
        say(sentence)
