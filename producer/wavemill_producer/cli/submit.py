"""`wavemill submit`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from wavemill.contract import DEFAULT_PRIORITY, PRIORITIES
from wavemill.requests import FORMATS, METHODS, ReconstructParams
from wavemill_producer.cli.printing import json_option, print_json

if TYPE_CHECKING:
    from wavemill.dataset.index import Dataset


@click.group()
def submit() -> None:
    """Queue a batch of jobs; workers do the rest."""
    logging.basicConfig(level=logging.WARNING, format="wavemill: %(message)s")


@submit.command()
@click.option("--dataset", "dataset_dir", required=True, help="Dataset folder, as the workers see it.")
@click.option("--model", required=True, help="Model folder, or a name below WAVEMILL_MODELS.")
@click.option("--output", required=True, help="Folder or fsspec URL; outputs go to OUTPUT/BATCH/.")
@click.option(
    "--ids", "ids_file", type=click.File(encoding="utf-8"), help="File of IDs, one a line; - is standard input."
)
@click.option("--all", "take_all", is_flag=True, help="Every spectrogram of the dataset.")
@click.option("--random", "n_random", type=click.IntRange(min=1), help="So many, drawn without replacement.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of --random, and of --sample.", default=0, show_default=True
)
@click.option("--sample", is_flag=True, help="Draw each latent from its posterior instead of taking the mean.")
@click.option(
    "--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True, help="Phase reconstruction."
)
@click.option(
    "--format", "format_", type=click.Choice(list(FORMATS)), default="wav", show_default=True, help="Output file."
)
@click.option("--keep-latents", is_flag=True, help="Also write each latent as latents/ID.npy.")
@click.option("--name", help="A name for people.")
@click.option(
    "--priority",
    type=click.IntRange(PRIORITIES.start, PRIORITIES.stop - 1),
    default=DEFAULT_PRIORITY,
    show_default=True,
    help="The highest goes first.",
)
@click.option(
    "--check-ids/--no-check-ids", default=True, show_default=True, help="Refuse the batch if an ID is unknown."
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be queued, queue nothing.")
@click.option("--wait", "wait_for_it", is_flag=True, help="Wait until the batch is finished.")
@json_option
@click.pass_context
def reconstruct(
    ctx: click.Context,
    /,
    *,
    dataset_dir: str,
    model: str,
    output: str,
    ids_file: TextIO | None,
    take_all: bool,
    n_random: int | None,
    seed: int,
    sample: bool,
    method: str,
    format_: Any,
    keep_latents: bool,
    dry_run: bool,
    wait_for_it: bool,
    as_json: bool,
    **request: Any,
) -> None:
    """Reconstruct spectrograms through a model, and invert the originals beside them.

    Example: wavemill submit reconstruct --dataset data/fsdd --model fsdd-vae --output out --all --wait
    """
    from wavemill.dataset.index import Dataset
    from wavemill_producer.producer import Producer

    if sum([ids_file is not None, take_all, n_random is not None]) != 1:
        raise click.UsageError("choose one of --ids FILE, --all and --random N")
    params = ReconstructParams(method=method, seed=seed if sample else None, keep_latents=keep_latents, format=format_)
    with Producer.from_env() as producer, Dataset.open(dataset_dir) as dataset:
        ids = _chosen_ids(dataset, ids_file, n_random, seed)
        arguments = {"dataset": dataset_dir, "model": model, "output": output, "params": params, **request}
        if dry_run:
            _report_dry_run(producer.check(ids, **arguments), as_json=as_json)
            return
        batch = producer.reconstruct(ids, **arguments)
        total = batch.status()["total"]
        if as_json:
            print_json({"batch_id": batch.id, "total": total})
        else:
            click.echo(f"queued {total} jobs as batch {batch.id}; follow it with: wavemill status {batch.id} --watch")
        if wait_for_it:
            from wavemill_producer.cli.status import wait_for

            ctx.exit(wait_for(batch, quiet=as_json))


def _chosen_ids(dataset: Dataset, ids_file: TextIO | None, n_random: int | None, seed: int) -> Iterable[str]:
    if ids_file is not None:
        return _lines(ids_file)
    if n_random is not None:
        return dataset.random_ids(n_random, seed)
    return dataset.ids()


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines that are not empty; an ID may begin or end with a space, but no line ends in one by intent."""
    return (stripped for line in file if (stripped := line.strip()))


def _report_dry_run(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    click.echo(
        f"would queue {report['total']} jobs in {report['chunks']} messages; at most "
        f"{report['output_bytes'] / 1e6:.1f} MB of output; {report['duplicates']} duplicates left out; "
        "nothing was queued"
    )
