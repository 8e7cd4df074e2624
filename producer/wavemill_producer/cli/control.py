"""`wavemill cancel`, `pause`, `resume` and `retry`."""

from __future__ import annotations

import click

from wavemill_cli.printing import json_option, number_of, print_json, say, warn_on_stderr


@click.command()
@click.argument("batch_id", metavar="BATCH")
@json_option
def cancel(batch_id: str, as_json: bool) -> None:
    """Cancel a batch's unfinished jobs; outputs that are already made stay.

    Example: wavemill cancel 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        count = producer.batch(batch_id).cancel()
    said = (
        f"cancelled {number_of(count, 'queued job')} of batch {batch_id}"
        if count
        else f"batch {batch_id} had no queued jobs"
    )
    _report(said, as_json=as_json, batch_id=batch_id, cancelled=count)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@json_option
def pause(batch_id: str, as_json: bool) -> None:
    """Pause a batch: workers start no more of its jobs until `wavemill resume`.

    Example: wavemill pause 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    with Producer.from_env() as producer:
        producer.batch(batch_id).pause()
    _report(f"paused batch {batch_id}", as_json=as_json, batch_id=batch_id)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@json_option
def resume(batch_id: str, as_json: bool) -> None:
    """Resume a paused batch.

    Example: wavemill resume 20260101-120000-1a2b3c4d
    """
    from wavemill_producer.producer import Producer

    warn_on_stderr()
    with Producer.from_env() as producer:
        producer.batch(batch_id).resume()
    _report(f"resumed batch {batch_id}", as_json=as_json, batch_id=batch_id)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--failed", "only_failed", is_flag=True, help="Retry only failed jobs, not cancelled ones.")
@json_option
def retry(batch_id: str, only_failed: bool, as_json: bool) -> None:
    """Queue a batch's failed and cancelled jobs again.

    Example: wavemill retry 20260101-120000-1a2b3c4d --failed
    """
    from wavemill_producer.producer import Producer

    warn_on_stderr()
    with Producer.from_env() as producer:
        count = producer.batch(batch_id).retry(only_failed=only_failed)
    _report(
        f"queued {number_of(count, 'job')} of batch {batch_id} again", as_json=as_json, batch_id=batch_id, retried=count
    )


def _report(sentence: str, *, as_json: bool, **values: object) -> None:
    if as_json:
        print_json(values)
    else:
        say(sentence)
