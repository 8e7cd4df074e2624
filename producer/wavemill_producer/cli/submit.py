"""`wavemill submit`: one subcommand for each operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
@common.sound_options
@common.latents_option
@common.queue_options
def reconstruct(dataset: str, model: str, seed: int, from_posterior: bool, **options: Any) -> None:
    """Turn spectrograms into sound through a model.

    The original spectrograms are turned into sound too, for comparison.

    Example: wavemill submit reconstruct --dataset data/fsdd --model fsdd-vae --output out --all --wait
    """
    taken = _taken(options, *common.SOUND_PARAMS, "keep_latents")
    params = ReconstructParams(seed=seed if from_posterior else None, **taken)
    _submit_ids("reconstruct", dataset, seed, options, model=model, params=params)


@submit.command()
@common.dataset_option
@common.model_option
@common.choice_options
@common.seed_option
@common.posterior_option
@common.queue_options
def encode(dataset: str, model: str, seed: int, from_posterior: bool, **options: Any) -> None:
    """Write the latents of spectrograms.

    They are written as latents/ID.npy, with level and length in latents/ID.json.

    Example: wavemill submit encode --dataset data/fsdd --model fsdd-vae --output out --all
    """
    params = EncodeParams(seed=seed if from_posterior else None)
    _submit_ids("encode", dataset, seed, options, model=model, params=params)


@submit.command()
@common.dataset_option
@common.choice_options
@common.seed_option
@common.sound_options
@common.queue_options
def invert(dataset: str, seed: int, **options: Any) -> None:
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
@common.seed_option
@common.sound_options
@common.latents_option
@common.queue_options
def vary(dataset: str, model: str, count: int, seed: int, **options: Any) -> None:
    """Make variations of clips.

    A variation is a sound near the clip in the model's latent space.

    Example: wavemill submit vary --dataset data/fsdd --model fsdd-vae --output out --ids ids.txt --count 8
    """
    params = VaryParams(seed=seed, **_taken(options, *common.SOUND_PARAMS, "keep_latents", "temperature"))
    _submit_ids("vary", dataset, seed, options, model=model, params=params, count=count)


@submit.command()
@common.dataset_option
@common.model_option
@click.option("--from", "start", help="ID of the first clip.")
@click.option("--to", "end", help="ID of the last clip.")
@click.option(
    "--pairs", "pairs_file", type=common.TEXT_FILE,
    help="File of pairs instead: two IDs per line with a tab between them; - is standard input.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=2), default=5, show_default=True, help="Sounds per pair, both ends included."
)
@click.option(
    "--path", type=click.Choice(PATHS), default=PATHS[0], show_default=True, help="Path through the latent space."
)
@click.option(
    "--check-ids/--no-check-ids", default=True, show_default=True, help="Refuse the batch if an ID is unknown."
)
@common.sound_options
@common.latents_option
@common.queue_options
def interpolate(start: str | None, end: str | None, pairs_file: TextIO | None, **options: Any) -> None:
    """Make the sounds between two clips, in steps.

    Example: wavemill submit interpolate --dataset data/fsdd --model fsdd-vae --output out --from 1_a_7 --to 2_b_9
    """
    if (pairs_file is None) == (start is None and end is None) or (start is None) != (end is None):
        raise click.UsageError("choose --from ID with --to ID, or --pairs FILE")
    pairs = [(str(start), str(end))] if pairs_file is None else _pairs(pairs_file)
    params = InterpolateParams(**_taken(options, *common.SOUND_PARAMS, "keep_latents", "path"))
    arguments = _taken(options, "dataset", "model", "steps", "check_ids")
    common.submit(lambda submitter, queue: submitter.interpolate(pairs, params=params, **arguments, **queue), **options)


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
    common.submit(lambda submitter, queue: submitter.sample(count, model=model, params=params, **queue), **options)


@submit.command()
@common.model_option
@click.option(
    "--latents", type=Location(), required=True, help="Folder or fsspec URL of .npy files, as the workers see it."
)
@click.option(
    "--ids", "ids_file", type=common.TEXT_FILE,
    help="File of names below --latents without .npy, one per line; - is standard input. Default: all of them.",
)  # fmt: skip
@common.sound_options
@common.queue_options
def decode(model: str, latents: str, ids_file: TextIO | None, **options: Any) -> None:
    """Turn latents into sound.

    Level and length come from the .json file beside each .npy file, as `submit encode` writes it.

    Example: wavemill submit decode --model fsdd-vae --latents out/BATCH/latents --output out
    """
    from wavemill.storage.locations import absolute, names_below

    folder = absolute(latents)
    names = names_below(folder, ".npy") if ids_file is None else common.lines(ids_file)
    params = DecodeParams(latents=folder, **_taken(options, *common.SOUND_PARAMS))
    common.submit(lambda submitter, queue: submitter.decode(names, model=model, params=params, **queue), **options)


def _submit_ids(operation: str, dataset: str, seed: int, options: dict[str, Any], **arguments: Any) -> None:
    from wavemill.dataset.index import Dataset

    choice = _taken(options, "ids_file", "take_all", "n_random")
    arguments["check_ids"] = options.pop("check_ids")
    with Dataset.open(dataset) as opened:
        ids = common.chosen_ids(opened, seed=seed, **choice)

        def call_operation(submitter: Submitter[Any], queue: dict[str, Any]) -> Any:
            return getattr(submitter, operation)(ids, dataset=dataset, **arguments, **queue)

        common.submit(call_operation, **options)


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


def _pairs(file: TextIO) -> Iterator[tuple[str, str]]:
    for line in common.lines(file):
        start, separator, end = line.partition("\t")
        if not separator:
            raise click.UsageError(f"--pairs: expected two IDs with a tab between, received {line[:80]!r}")
        yield start, end
