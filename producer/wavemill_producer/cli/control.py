"""`wavemill cancel`, `pause`, `resume` and `retry`."""

from __future__ import annotations

import click

from wavemill_cli.printing import json_option, number_of, print_json, say
from wavemill_producer.cli.bulk import cancel_where, retry_where, where_option
from wavemill_producer.cli.logs import warn_on_stderr


@click.command()
@click.argument("batch_id", metavar="BATCH")
@where_option("id=7_*")
@json_option
def cancel(batch_id: str, where: tuple[str, ...], as_json: bool) -> None:
    """Cancel a batch's unfinished jobs; finished outputs are kept.

    With --where, only queued jobs are cancelled; those that run go on.

    BATCH is a batch's ID or name.

    Example: wavemill cancel 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    if where:
        cancel_where(batch_id, where, as_json=as_json)
        return
    with Producer.from_env() as producer:
        batch = producer.batch(batch_id)
        count = batch.cancel()
    said = (
        f"cancelled {number_of(count, 'queued job')} of batch {batch.id}"
        if count
        else f"batch {batch.id} had no queued jobs"
    )
    _report(said, as_json=as_json, batch_id=batch.id, cancelled=count)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@json_option
def pause(batch_id: str, as_json: bool) -> None:
    """Pause a batch: workers start no more of its jobs until `wavemill resume`.

    BATCH is a batch's ID or name.

    Example: wavemill pause 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        batch = producer.batch(batch_id)
        batch.pause()
    _report(f"paused batch {batch.id}", as_json=as_json, batch_id=batch.id)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@json_option
def resume(batch_id: str, as_json: bool) -> None:
    """Resume a paused batch.

    BATCH is a batch's ID or name.

    Example: wavemill resume 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    warn_on_stderr()
    with Producer.from_env() as producer:
        batch = producer.batch(batch_id)
        batch.resume()
    _report(f"resumed batch {batch.id}", as_json=as_json, batch_id=batch.id)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--failed", "only_failed", is_flag=True, help="Retry only failed jobs, not cancelled ones.")
@where_option("error_code=storage-error, id=7_*")
@json_option
def retry(batch_id: str, only_failed: bool, where: tuple[str, ...], as_json: bool) -> None:
    """Queue a batch's failed and cancelled jobs again.

    BATCH is a batch's ID or name.

    Example: wavemill retry 20260101-120000-1a2b3c4d --failed
    """
    from wavemill_producer.producer import Producer

    warn_on_stderr()
    if where:
        retry_where(batch_id, where, only_failed=only_failed, as_json=as_json)
        return
    with Producer.from_env() as producer:
        batch = producer.batch(batch_id)
        count = batch.retry(only_failed=only_failed)
    none = f"batch {batch.id} has no {'failed jobs' if only_failed else 'failed or cancelled jobs'}"
    said = f"queued {number_of(count, 'job')} of batch {batch.id} again" if count else none
    _report(said, as_json=as_json, batch_id=batch.id, retried=count)


def _report(sentence: str, *, as_json: bool, **values: object) -> None:
    if as_json:
        print_json(values)
    else:
        say(sentence)
