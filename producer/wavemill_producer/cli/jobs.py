"""`wavemill jobs` and `wavemill job`."""

from __future__ import annotations

from typing import Any

import click

from wavemill.jobs.filters import FIELDS
from wavemill.jobs.flags import Flag
from wavemill.jobs.states import State
from wavemill_cli.printing import json_option, number_of, print_json, print_table, say
from wavemill_producer.cli.bulk import rate_where, where_option
from wavemill_producer.cli.job_ids import LAST_JOB_ID, found_job

_JOB_ID = click.IntRange(min=0, max=LAST_JOB_ID)
# Fields that the table of jobs shows only if it is sorted by them.
_SHOWN_IF_SORTED = FIELDS.keys() - {"state", "flag", "id", "custom_id", "error_code", "error", "attempt", "job"}


@click.command()
@click.option("--batch", "batch_id", help="Only jobs of this batch, named by its ID or name.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only jobs in this state.")
@click.option(
    "--flag", type=click.Choice([flag.value for flag in Flag]), help="Only jobs with this flag on their output."
)
@where_option("rating>=4, id=7_*, label.digit=7, custom_id=order-*")
@click.option(
    "--sort", metavar="FIELD", help="In the order of this field, such as rating; -rating has the largest first."
)
@click.option(
    "--after", type=_JOB_ID, default=0, show_default=True,
    help="Only jobs with a higher ID: the next page. With --sort, how many jobs to skip.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List at most this many.")
@json_option
def jobs(
    batch_id: str | None,
    state: str | None,
    flag: str | None,
    where: tuple[str, ...],
    sort: str | None,
    after: int,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs in the order of their IDs or of a field; with --json, one object per line.

    Example: wavemill jobs --batch 20260101-120000-1a2b3c4d --state failed
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        chosen = None if state is None else State(state)
        rows = producer.jobs(
            batch_id=batch_id, state=chosen, flag=flag, where=where, sort=sort, after=after, limit=limit
        )
        if as_json:
            shown, last = 0, after
            for row in rows:
                print_json(dict(row._mapping))
                last, shown = row.id, shown + 1
            _say_more(after + shown if sort else last, is_cut=shown == limit)
            return
        listed = list(rows)
    if not listed:
        say("no jobs match")
        return
    named = ["custom ID"] if any(r.custom_id for r in listed) else []
    field = (sort or "").removeprefix("-")
    sorted_by = [field] if field in _SHOWN_IF_SORTED else []
    columns = ["job", "batch", "spectrogram", *named, "state", "attempt", "flags", *sorted_by, "output or error"]
    cells = [
        [
            r.id,
            r.batch_id,
            r.spectrogram_id,
            *([r.custom_id] if named else []),
            r.state,
            f"{r.attempt}/{r.max_attempts}",
            r.flags,
            *([_value(r, field)] if sorted_by else []),
            r.error or r.generated_path or r.latent_path,
        ]
        for r in listed
    ]
    print_table(columns, cells, whole=("job", "batch", "spectrogram"))
    _say_more(after + len(listed) if sort else listed[-1].id, is_cut=len(listed) == limit)


def _value(row: Any, field: str) -> Any:
    """Return a job's value of a field that jobs can be sorted by."""
    return {**row._mapping, **(row.quality or {}), **(row.timings or {})}.get(field)


def _say_more(last: int, *, is_cut: bool) -> None:
    if is_cut:
        say(f"there may be more: --after {last}, or a higher --limit", err=True)


@click.command()
@click.argument("rating", type=click.IntRange(0, 5))
@click.argument("job_ids", metavar="[JOB]...", nargs=-1, type=_JOB_ID)
@click.option("--batch", "batch_id", help="Rate jobs of this batch, named by its ID or name, that meet --where.")
@where_option("state=done, id=7_*")
@json_option
def rate(rating: int, job_ids: tuple[int, ...], batch_id: str | None, where: tuple[str, ...], as_json: bool) -> None:
    """Rate the sounds of jobs from 1 to 5; 0 takes a rating away.

    Example: wavemill rate 5 17 23, or wavemill rate 5 --batch 20260101-120000-1a2b3c4d --where 'peak<1'
    """
    from wavemill_producer.producer import Producer

    if bool(job_ids) == bool(where) or bool(where) != bool(batch_id):
        raise click.UsageError("name jobs by their numbers, or by --batch BATCH with --where CONDITION")
    if batch_id is not None:
        rate_where(batch_id, where, rating, as_json=as_json)
        return
    with Producer.from_env() as producer:
        count = producer.rate(job_ids, rating or None)
    if as_json:
        print_json({"rated": count})
    else:
        say(f"rated {number_of(count, 'job')}" if rating else f"took the rating of {number_of(count, 'job')} away")
    if count < len(set(job_ids)):
        raise click.ClickException("some of these jobs do not exist; list jobs with: wavemill jobs")


@click.command()
@click.argument("job_id", metavar="ID")
@click.option(
    "--batch",
    "batch_id",
    help="The batch of a spectrogram's job, by its ID or name. Default: the newest with such a job.",
)
@json_option
def job(job_id: str, batch_id: str | None, as_json: bool) -> None:
    """Show one job: its request, outputs, quality, timings and every attempt.

    ID is a job's number or a spectrogram's ID. With --batch, it is always a spectrogram's ID.

    Example: wavemill job 42, or wavemill job 7_george_12 --batch 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        found = found_job(producer, job_id, batch_id=batch_id)
    if as_json:
        print_json(found)
        return
    attempts = found.pop("attempts")
    width = max(len(key) for key in found)
    for key, value in found.items():
        if value is not None:
            say(f"{key:<{width}}  {value}")
    for attempt in attempts:
        reason = f": {attempt['error']}" if attempt["error"] else ""
        say(f"attempt {attempt['attempt']} by {attempt['worker_id']}: {attempt['outcome']}{reason}")
