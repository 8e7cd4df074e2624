"""`wavemill gc`."""

from __future__ import annotations

import re
from typing import Any

import click

from wavemill.errors import OutputError, StorageError, StorageUnavailableError
from wavemill_cli.printing import json_option, number_of, print_json, say

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DEFAULT_AGE_S = 30.0 * _UNITS_S["d"]


class Age(click.ParamType[float]):
    """A time span such as 30d, in seconds."""

    name = "age"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number with its unit."""
        if isinstance(value, int | float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if match is None:
            self.fail(f"{value!r}: expected a number and s, m, h, d or w, such as 30d", param, ctx)
        return float(match[1]) * _UNITS_S[match[2]]


@click.command()
@click.argument("batch_ids", metavar="[BATCH]...", nargs=-1)
@click.option(
    "--older-than",
    "older_than_s",
    type=Age(),
    help="Only batches that finished at least this long ago [30d; named batches: 0s].",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option("--deleted", is_flag=True, help="Also remove batches whose output folder was deleted by hand.")
@json_option
@click.pass_context
def gc(
    ctx: click.Context,
    batch_ids: tuple[str, ...],
    older_than_s: float | None,
    dry_run: bool,
    deleted: bool,
    as_json: bool,
) -> None:
    """Remove the outputs and rows of finished batches: the named ones, or all old ones.

    A batch that is not finished is never removed. Files that no row of the batch names are kept. If an
    earlier run was interrupted, this one finishes its work, whatever the age of the batch.

    Each BATCH is a batch's ID or name.

    Example: wavemill gc --older-than 30d --dry-run
    """
    from wavemill.jobs.prune import batches_to_prune, prune_batch
    from wavemill.jobs.queries import find_batch
    from wavemill_producer.producer import Producer

    age_s = (0.0 if batch_ids else _DEFAULT_AGE_S) if older_than_s is None else older_than_s
    report = []
    with Producer.from_env() as producer:
        named = [find_batch(producer.database, one, pruned_too=True) for one in batch_ids]
        for batch in batches_to_prune(producer.database, older_than_s=age_s, batch_ids=named):
            line = {"batch_id": batch.id, "name": batch.name, "jobs": batch.total, "done": batch.done, "error": None}
            if not dry_run:
                try:
                    line["jobs"] = prune_batch(producer.database, batch.id, older_than_s=age_s, is_deleted=deleted)
                except (OutputError, StorageError, StorageUnavailableError) as exc:
                    line["error"] = str(exc)
            report.append(line)
            if not as_json:
                say(_sentence(line, dry_run=dry_run))
    if as_json:
        print_json({"dry_run": dry_run, "batches": report})
    elif not report:
        say("no finished batch is that old")
    ctx.exit(1 if any(line["error"] for line in report) else 0)


def _sentence(line: dict[str, Any], *, dry_run: bool) -> str:
    name = f" ({line['name']})" if line["name"] else ""
    if line["error"]:
        return f"batch {line['batch_id']}{name}: stopped, run gc again when this is fixed: {line['error']}"
    verb = "would remove" if dry_run else "removed"
    return f"{verb} batch {line['batch_id']}{name}: {number_of(line['jobs'], 'job')}, {line['done']} with outputs"
