"""`wavemill train`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavemill.text.terminal import progress_bar
from wavemill.vae.training.held_out import HeldOut
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_json, say
from wavemill_worker.cli.free import require_free

if TYPE_CHECKING:
    from wavemill.presets import Features
    from wavemill.vae.folder.record import ModelRecord
    from wavemill.vae.model import Model
    from wavemill.vae.training.batches import Indices, SpectrogramSource
    from wavemill.vae.training.config import TrainingConfig
    from wavemill.vae.training.reports import EpochReport, Summary

_folder = FilePath()
_NO_LIMIT = 1_000_000  # epochs, where a time is the limit
_SAVING = "fitting what samples are drawn from, and measuring held-out clips: this takes a minute or more"


@click.command(epilog="Example: wavemill train data/fsdd models/mine --validation-label index=5,6,7,8,9")
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@click.argument("model_dir", metavar="MODEL", type=_folder)
@click.option("--kind", type=click.Choice(["vae", "ae"]), default="vae", show_default=True, help="Kind of model.")
@click.option(
    "--architecture",
    metavar="NAME",
    help="residual (default), spatial, spectra (default with --condition), or course (for its preset).",
)
@click.option(
    "--condition",
    "conditions",
    metavar="LABEL",
    multiple=True,
    help="Tell the decoder this label, so that any combination can be sampled; repeatable.",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Stop at the end of the epoch nearest to this time.",
)
@click.option("--no-augment", is_flag=True, help="Train on the clips as they are, neither shifted nor changed.")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=_folder,
    help="Options of the training in TOML or JSON, named as in TrainingConfig; those given here win.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most this many passes over the dataset [100; course: 150].",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Spectrograms per step [32; spatial, spectra: 16; course: 64].",
)
@click.option(
    "--learning-rate",
    type=float,
    metavar="R",
    help="Adam's highest learning rate [0.0015; spectra: 0.002; course: 0.0005].",
)
@click.option("--beta", type=float, metavar="B", help="Weight of the KL divergence [0.5; spatial: 0.1; course: 1].")
@click.option(
    "--latent-dim",
    type=click.IntRange(min=1),
    metavar="N",
    help="Size of a latent vector [128; spatial: 16 numbers for each 8 bins x 8 frames; spectra: 20 for each 8 "
    "frames]. It is rounded to what the clips' length allows.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    metavar="N",
    help="Stop after N epochs without improvement; 0: never stop early, and keep the last [25].",
)
@click.option(
    "--validation-label",
    metavar="KEY=A,B",
    help="Clips to hold out [the split validation; without it a tenth at random; or what --init held out].",
)
@click.option(
    "--init", metavar="MODEL", type=_folder, help="Start from this model's weights; hold out what it held out."
)
@click.option(
    "--add", "added", metavar="DATASET", type=_folder, multiple=True, help="Train on this dataset too; repeatable."
)
@click.option(
    "--added-share", type=click.FloatRange(0, 1), metavar="P", help="Share of each epoch that comes from --add [0.2]."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="S",
    help="Random seed: the same seed and dataset give the same model [0].",
)
@click.option("--overwrite", is_flag=True, help="Replace the model, or the unfinished training, that MODEL holds.")
@click.option("--resume", is_flag=True, help="Continue an interrupted training; --epochs may differ.")
@click.option("--finish", is_flag=True, help="Save the best weights of an interrupted training, and train no more.")
@json_option
def train(
    dataset_dir: Path,
    model_dir: Path,
    architecture: str | None,
    conditions: tuple[str, ...],
    no_augment: bool,
    config_file: Path | None,
    init: Path | None,
    added: tuple[Path, ...],
    overwrite: bool,
    resume: bool,
    finish: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Train a model on DATASET and save it as the folder MODEL.

    The command writes a checkpoint after each epoch. You can interrupt it with Ctrl-C, and later
    continue with --resume or save the best weights so far with --finish. Give both the options that
    the training was started with. Datasets named by --add are neither held out nor sampled from:
    they only give the model more to learn from. Clips whose label `split` is `test` are not used.
    """
    from wavemill.dataset.index import Dataset

    resume = resume or finish
    if not (overwrite or resume):
        require_free(model_dir, "MODEL")
    for folder in (dataset_dir, *added):  # before TensorFlow is imported, which takes a while
        Dataset.open(folder).close()
    from wavemill.cores import available_cores
    from wavemill.keras_seam import tf
    from wavemill.vae.folder.record import read_record
    from wavemill.vae.package import load_model
    from wavemill.vae.training.config_file import read_config
    from wavemill.vae.training.dataset_source import DatasetSource
    from wavemill.vae.training.examples import examples_folder
    from wavemill.vae.training.run import train as train_model

    with suppress(RuntimeError):  # TensorFlow is already in use: the calling program has set its threads
        tf.config.threading.set_intra_op_parallelism_threads(available_cores())  # `load_model` would choose one
    with ExitStack() as stack:
        dataset, *others = (stack.enter_context(Dataset.open(folder)) for folder in (dataset_dir, *added))
        start = load_model(init) if init else None
        options["conditions"] = list(conditions) or None
        options["augment"] = False if no_augment else None
        config = _config(
            dataset.features, architecture, start, options, read_config(config_file) if config_file else {}
        )
        if start:
            _warn_of_another_rule(start, config)
        progress = stack.enter_context(_reports(config.epochs, as_json=as_json))
        stack.enter_context(_says_how_to_go_on(model_dir))
        digest = train_model(
            DatasetSource(dataset),
            model_dir,
            config,
            resume=resume,
            finish=finish,
            init=start,
            added=[DatasetSource(other) for other in others],
            started=None if as_json else _say_summary,
            progress=progress,
            saving=None if as_json else partial(say, _SAVING),
            evaluate=lambda *held_out: _examples_and_figures(model_dir, *held_out),
        )
    record = read_record(model_dir)
    distance_db = record.quality["log_spectral_distance_db"]
    if as_json:
        print_json({"model": str(model_dir), "digest": digest, "log_spectral_distance_db": distance_db})
    else:
        say(f"{model_dir}: trained and saved, digest {digest}")
        say(f"log-spectral distance of held-out clips: {distance_db:.1f} dB (0 is perfect)")
        say(f"held-out clips to listen to, original and reconstruction: {examples_folder(model_dir)}")
        _say_labels(record)


def _examples_and_figures(
    model_dir: Path, model: Model, source: SpectrogramSource, held_out: Indices
) -> dict[str, Any]:
    from wavemill.vae.training.examples import examples_folder, write_examples
    from wavemill.vae.training.quality import measure

    write_examples(model, source, held_out, examples_folder(model_dir))
    return measure(model, source, held_out)


def _config(
    features: Features,
    architecture: str | None,
    start: Model | None,
    given: dict[str, Any],
    filed: dict[str, Any],
) -> TrainingConfig:
    """Return the options: those given on the command line, else those of the file, else the defaults."""
    from wavemill.vae.training.config import TrainingConfig

    options = filed | {name: value for name, value in given.items() if value is not None}
    architecture = architecture or options.pop("architecture", None)
    if options.get("max_minutes") and "epochs" not in options:
        options["epochs"] = _NO_LIMIT
    if start:
        architecture = architecture or start.record.architecture
        options = {"architecture_config": dict(start.record.architecture_config)} | options
        options.setdefault("latent_dim", start.record.latent_dim)
        options["conditions"] = [condition.label for condition in start.record.conditions]
    plain = "course" if features.preset == "course" else "residual"
    architecture = architecture or ("spectra" if options.get("conditions") else plain)
    return TrainingConfig.for_architecture(architecture, shape=features.shape, **options)


def _warn_of_another_rule(start: Model, config: TrainingConfig) -> None:
    ours, theirs = config.validation_label, start.record.training.get("validation_label")
    if ours and not (theirs and HeldOut.parse(theirs).covers(HeldOut.parse(ours))):
        say(
            f"note: {start.name} was trained with other clips held out ({theirs or 'a random part'}) and may have "
            f"heard clips that {ours} holds out; the held-out figures may be too good",
            err=True,
        )


def _say_summary(summary: Summary) -> None:
    for line in summary.lines():
        say(line)


def _say_labels(record: ModelRecord) -> None:
    told = {condition.label for condition in record.conditions}
    known = [condition.described for condition in record.conditions]
    known += [f"{label}={'|'.join(values)}" for label, values in record.labels.items() if label not in told]
    say(f"labels that can be sampled: {'; '.join(known) or 'none'}")
    for label, why in record.training.get("labels_not_sampled", {}).items():
        say(f"label that cannot be sampled: {label}, because {why}")
    if alone := record.training.get("not_sampled_as_one_take_each"):
        say(
            f"combinations that cannot be sampled, with one take each: {len(alone)}, such as {alone[0]}; the "
            "architecture spectra with --condition can sample them"
        )


@contextmanager
def _says_how_to_go_on(model_dir: Path) -> Iterator[None]:
    from wavemill.vae.training.checkpoint import checkpoint_file

    try:
        yield
    except KeyboardInterrupt:
        how = "give the same options with --resume to continue, or with --finish to save the best weights so far"
        is_kept = checkpoint_file(model_dir).exists()
        say(how if is_kept else "nothing was saved: no epoch was finished yet", err=True)
        raise


@contextmanager
def _reports(epochs: int, *, as_json: bool) -> Iterator[Callable[[EpochReport], None]]:
    if as_json:
        yield lambda report: print_json(asdict(report))
        return
    if not sys.stdout.isatty():
        yield _print_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with progress_bar(*columns, stderr=False) as bar:
        task = bar.add_task("first epoch", total=epochs if epochs < _NO_LIMIT else None)

        def show(report: EpochReport) -> None:
            bar.update(task, completed=report.epoch, description=_figures(report))

        yield show


def _figures(report: EpochReport) -> str:
    figures = f"error {report.error:.5f}, held out {report.validation_error:.5f}, KL {report.kl:.0f}"
    return figures + (" (best)" if report.best else "")


def _print_line(report: EpochReport) -> None:
    of = f" of {report.epochs}" if report.epochs < _NO_LIMIT else ""
    say(f"epoch {report.epoch}{of}: {_figures(report)}, {report.seconds:.0f} s")
