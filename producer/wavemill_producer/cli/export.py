"""`wavemill export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import click

from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, number_of, print_json, say
from wavemill_producer.cli.bulk import where_option

_TEXT = ("csv", "jsonl")


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option(
    "--format", "kind", type=click.Choice([*_TEXT, "parquet", "zip"]), required=True,
    help="csv, jsonl and parquet: one row per job; zip: the outputs too.",
)  # fmt: skip
@click.option(
    "--output", type=FilePath(dir_okay=False),
    help="File to write. [default: standard output for csv and jsonl, else BATCH.FORMAT]",
)  # fmt: skip
@where_option("rating>=4, state=done")
@json_option
@click.pass_context
def export(
    ctx: click.Context, batch_id: str, kind: str, output: Path | None, where: tuple[str, ...], as_json: bool
) -> None:
    """Write a batch's jobs, or its outputs, into one file.

    The exit code is 1 if outputs of done jobs are missing or changed. The file holds all the
    others.

    The labels of the recordings that a job was made from are columns such as label_pitch, or
    label_from_pitch and label_to_pitch.

    BATCH is a batch's ID or name.

    Example: wavemill export 20260101-120000-1a2b3c4d --format zip --output digits.zip
    """
    from wavemill_producer.export import FORMATS
    from wavemill_producer.producer import Producer
    from wavemill_producer.source_labels import SourceLabels

    if output is None and kind in _TEXT and as_json:
        raise click.UsageError("--json reports what was written to a file: name a file with --output")
    with Producer.from_env() as producer:
        batch = producer.batch(batch_id)
        if output is None and kind not in _TEXT:
            output = Path(f"{batch.id}.{kind}")
        status = batch.status()
        rows = producer.jobs(batch_id=batch.id, where=where) if where else batch.rows()
        with closing(SourceLabels(status)) as labels:
            with _opened(output) as file:
                exported = FORMATS[kind](labels, rows, file, status)
            if labels.missing:
                say(labels.missing, err=True)
    _report(exported.jobs, exported.files, exported.damaged, output, as_json=as_json)
    ctx.exit(1 if exported.damaged else 0)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open a temporary file and rename it to `output` when complete; None is standard output."""
    if output is None:
        yield sys.stdout.buffer
        return
    from wavemill.errors import UsageError

    aside = output.with_name(f".{output.name}.part")
    try:
        file = aside.open("wb")
    except OSError as exc:
        raise UsageError(
            f"--output {output} cannot be written: {exc.strerror}; name a file in a folder that exists"
        ) from exc
    try:
        with file:
            yield file
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def _report(n_jobs: int, n_files: int, damaged: list[str], output: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"output": str(output), "jobs": n_jobs, "files": n_files, "damaged": damaged})
        return
    for path in damaged[:5]:
        say(f"left out, missing or changed: {path}", err=True)
    if len(damaged) > 5:
        say(f"... and {len(damaged) - 5} more", err=True)
    files = f", {number_of(n_files, 'file')}" if n_files else ""
    where = "" if output is None else f" in {output}"
    say(f"{number_of(n_jobs, 'job')}{files}{where}", err=True)
