"""`wavemill submit`: one subcommand for each operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from wavemill.operations.requests import (
    PATHS,
    DecodeParams,
    EncodeParams,
    InterpolateParams,
    InvertParams,
    ReconstructParams,
    SampleParams,
    VaryParams,
)
from wavemill_cli.paths import Location
from wavemill_producer.cli import submitting as common
from wavemill_producer.cli.logs import warn_on_stderr

if TYPE_CHECKING:
    from wavemill_producer.job import Job
    from wavemill_producer.job_sources import GivenId, GivenPair
    from wavemill_producer.producer import Producer
    from wavemill_producer.submitter import Submitter


@click.group()
def submit() -> None:
    """Queue a batch of jobs for workers to render."""
    warn_on_stderr()


@submit.command()
@common.dataset_option
@common.model_option
@common.choice_options
@common.seed_option
@common.posterior_option
@common.refine_option
@common.sound_options
@common.latents_option
@common.queue_options
def reconstruct(dataset: str | None, model: str, seed: int, from_posterior: bool, **options: Any) -> None:
    """Turn spectrograms into sound through a model.

    The original spectrograms are turned into sound too, for comparison.

    Example: wavemill submit reconstruct --dataset data/fsdd --model fsdd-vae --output out --all --wait
    """
    taken = _taken(options, *common.SOUND_PARAMS, "keep_latents", "refine")
    params = ReconstructParams(seed=seed if from_posterior else None, **taken)
    _submit_ids("reconstruct", dataset, seed, options, model=model, params=params)


@submit.command()
@common.dataset_option
@common.model_option
@common.choice_options
@common.seed_option
@common.posterior_option
@common.refine_option
@common.queue_options
def encode(dataset: str | None, model: str, seed: int, from_posterior: bool, **options: Any) -> None:
    """Write the latents of spectrograms.

    They are written as latents/ID.npy, with level and length in latents/ID.json.

    Example: wavemill submit encode --dataset data/fsdd --model fsdd-vae --output out --all
    """
    params = EncodeParams(seed=seed if from_posterior else None, **_taken(options, "refine"))
    _submit_ids("encode", dataset, seed, options, model=model, params=params)


@submit.command()
@common.dataset_option
@common.choice_options
@common.seed_option
@common.sound_options
@common.queue_options
def invert(dataset: str | None, seed: int, **options: Any) -> None:
    """Turn spectrograms into sound without a model.

    Example: wavemill submit invert --dataset data/fsdd --output out --random 10
    """
    params = InvertParams(**_taken(options, *common.SOUND_PARAMS))
    _submit_ids("invert", dataset, seed, options, params=params)


@submit.command()
@common.dataset_option
@common.model_option
@common.choice_options
@click.option("--count", type=click.IntRange(min=1), default=4, show_default=True, help="Variations of each clip.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=VaryParams.temperature,
    show_default=True,
    help="Distance from the clip: 0 is the clip itself, 1 is as far as one voice's takes of a word lie apart.",
)
@common.refine_option
@common.seed_option
@common.sound_options
@common.latents_option
@common.queue_options
def vary(dataset: str | None, model: str, count: int, seed: int, **options: Any) -> None:
    """Make variations of clips.

    A variation is a sound near the clip in the model's latent space.

    Example: wavemill submit vary --dataset data/fsdd --model fsdd-vae --output out --ids ids.txt --count 8
    """
    taken = _taken(options, *common.SOUND_PARAMS, "keep_latents", "refine", "temperature")
    params = VaryParams(seed=seed, **taken)
    _submit_ids("vary", dataset, seed, options, model=model, params=params, count=count)


@submit.command()
@common.dataset_option
@common.model_option
@click.option("--from", "start", help="ID of the first clip.")
@click.option("--to", "end", help="ID of the last clip.")
@click.option(
    "--pairs", "pairs_file", type=common.TEXT_FILE,
    help="File of pairs instead: two IDs per line with a tab between them, or JSON with from, to, custom_id and "
    "metadata; - is standard input.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=2), default=5, show_default=True, help="Sounds per pair, both ends included."
)
@click.option(
    "--path", type=click.Choice(PATHS), default=PATHS[0], show_default=True, help="Path through the latent space."
)
@common.from_batch_options
@click.option(
    "--check-ids/--no-check-ids", default=True, show_default=True, help="Refuse the batch if an ID is unknown."
)
@common.refine_option
@common.sound_options
@common.latents_option
@common.queue_options
def interpolate(
    start: str | None,
    end: str | None,
    pairs_file: TextIO | None,
    from_batch: str | None,
    where: tuple[str, ...],
    **options: Any,
) -> None:
    """Make the sounds between two clips, in steps.

    Example: wavemill submit interpolate --dataset data/fsdd --model fsdd-vae --output out --from 1_a_7 --to 2_b_9
    """
    ends = start is not None or end is not None
    if sum([pairs_file is not None, ends, from_batch is not None]) != 1 or (start is None) != (end is None):
        raise click.UsageError("choose --from ID with --to ID, --pairs FILE, or --from-batch BATCH of interpolations")
    common.require_batch(from_batch, where)
    common.require_dataset(options["dataset"], from_batch)
    pairs: Iterable[GivenPair] = [(str(start), str(end))] if pairs_file is None else common.pairs(pairs_file)
    params = InterpolateParams(**_taken(options, *common.SOUND_PARAMS, "keep_latents", "path", "refine"))
    arguments = _taken(options, "dataset", "model", "steps", "check_ids")

    def call_operation(producer: Producer, submitter: Submitter[Any], queue: dict[str, Any]) -> Any:
        chosen = pairs if from_batch is None else _jobs(producer, from_batch, where)
        return submitter.interpolate(chosen, params=params, **arguments, **queue)

    common.submit(call_operation, **options)


@submit.command()
@common.model_option
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="Number of sounds.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="What to make, such as digit=7; may be repeated."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="Variety: 0 is the middle of a label, 1 lies between its neighbouring prototypes. These are means of takes, "
    "so they vary less than takes (about 0.6 of their spread with fsdd-vae).  [default: measured for the model]",
)
@common.seed_option
@common.sound_options
@common.latents_option
@common.queue_options
def sample(model: str, count: int, labels: tuple[str, ...], seed: int, **options: Any) -> None:
    """Make new sounds, drawn from the model's latent space.

    Example: wavemill submit sample --model fsdd-vae --output out --count 100 --label digit=7 --label speaker=george
    """
    taken = _taken(options, *common.SOUND_PARAMS, "keep_latents", "temperature")
    params = SampleParams(seed=seed, labels=_labels(labels), **taken)
    common.submit(lambda _, submitter, queue: submitter.sample(count, model=model, params=params, **queue), **options)


@submit.command()
@common.model_option
@click.option(
    "--latents",
    type=Location(),
    help="Folder or fsspec URL of .npy files, as the workers see it.  [required, except with --from-batch]",
)
@click.option(
    "--ids", "ids_file", type=common.TEXT_FILE,
    help="File of names below --latents without .npy, one per line; - is standard input. Default: all of them. "
    f"{common.OBJECTS}",
)  # fmt: skip
@common.from_batch_options
@common.sound_options
@common.queue_options
def decode(
    model: str,
    latents: str | None,
    ids_file: TextIO | None,
    from_batch: str | None,
    where: tuple[str, ...],
    **options: Any,
) -> None:
    """Turn latents into sound.

    Level and length come from the .json file beside each .npy file, as `submit encode` writes it.

    Example: wavemill submit decode --model fsdd-vae --latents out/BATCH/latents --output out
    """
    if (latents is None) == (from_batch is None) or (from_batch is not None and ids_file is not None):
        raise click.UsageError("choose --latents FOLDER, which --ids may narrow down, or --from-batch BATCH")
    common.require_batch(from_batch, where)
    sound = _taken(options, *common.SOUND_PARAMS)

    def call_operation(producer: Producer, submitter: Submitter[Any], queue: dict[str, Any]) -> Any:
        folder, names = _latents(producer, latents, ids_file, from_batch, where)
        return submitter.decode(names, model=model, params=DecodeParams(latents=folder, **sound), **queue)

    common.submit(call_operation, **options)


def _latents(
    producer: Producer, latents: str | None, ids_file: TextIO | None, from_batch: str | None, where: tuple[str, ...]
) -> tuple[str, Iterable[GivenId]]:
    """Return the folder of latents and the names in it: given ones, those of a batch, or all."""
    from wavemill.storage.locations import absolute, names_below
    from wavemill_producer.job_sources import latents_folder, matching_jobs

    if from_batch is not None:
        batch = producer.batch(from_batch)
        return latents_folder(batch), matching_jobs(batch, where)
    folder = absolute(str(latents))
    return folder, names_below(folder, ".npy") if ids_file is None else common.entries(ids_file)


def _submit_ids(operation: str, dataset: str | None, seed: int, options: dict[str, Any], **arguments: Any) -> None:
    from wavemill.dataset.index import Dataset

    ids_file, take_all, n_random, from_batch, where = _taken(
        options, "ids_file", "take_all", "n_random", "from_batch", "where"
    ).values()
    if sum([ids_file is not None, take_all, n_random is not None, from_batch is not None]) != 1:
        raise click.UsageError("choose one of --ids FILE, --all, --random N and --from-batch BATCH")
    common.require_batch(from_batch, where)
    common.require_dataset(dataset, from_batch)
    arguments["check_ids"] = options.pop("check_ids")

    def call_operation(producer: Producer, submitter: Submitter[Any], queue: dict[str, Any]) -> Any:
        call = partial(getattr(submitter, operation), dataset=dataset, **arguments, **queue)
        if from_batch is not None:
            return call(_jobs(producer, from_batch, where))
        with Dataset.open(str(dataset)) as opened:
            return call(common.chosen_ids(opened, ids_file=ids_file, n_random=n_random, seed=seed))

    common.submit(call_operation, **options)


def _jobs(producer: Producer, from_batch: str, where: tuple[str, ...]) -> Iterator[Job]:
    from wavemill_producer.job_sources import matching_jobs

    return matching_jobs(producer.batch(from_batch), where)


def _taken(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options.pop(name) for name in names}


def _labels(texts: Iterable[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (separator and name and value):
            raise click.UsageError(f"--label {text}: expected NAME=VALUE, such as digit=7")
        labels[name] = value
    return labels
