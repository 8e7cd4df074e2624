"""`wavemill train`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wavemill.vae.training import EpochReport

_folder = click.Path(path_type=Path)


@click.command(epilog="Example: wavemill train data/fsdd models/mine --validation-label index=5,6,7,8,9")
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@click.argument("model_dir", metavar="MODEL", type=_folder)
@click.option("--kind", type=click.Choice(["vae", "ae"]), default="vae", show_default=True, help="Kind of model.")
@click.option("--architecture", metavar="NAME", help="residual or course; by default what suits the dataset's preset.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="At most this many passes over the dataset.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Spectrograms per step.")
@click.option("--learning-rate", type=float, metavar="R", help="Adam's (highest) learning rate.")
@click.option("--beta", type=float, metavar="B", help="Weight of the KL divergence.")
@click.option("--latent-dim", type=click.IntRange(min=1), metavar="N", help="Numbers per latent vector.")
@click.option("--patience", type=click.IntRange(min=0), metavar="N", help="Epochs to wait for an improvement; 0: all.")
@click.option("--validation-label", metavar="KEY=A,B", help="Hold out these, instead of a tenth at random.")
@click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Same seed, same dataset: the same model.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted training stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per epoch, and one for the model.")
def train(
    dataset_dir: Path, model_dir: Path, architecture: str | None, resume: bool, as_json: bool, **options: object
) -> None:
    """Train a model on DATASET and save it as the folder MODEL.

    After each epoch a checkpoint is written: interrupt it with Ctrl-C and go on later with --resume.
    """
    from wavemill.dataset.index import Dataset
    from wavemill.vae.quality import measure
    from wavemill.vae.source import DatasetSource
    from wavemill.vae.training import train as train_model
    from wavemill.vae.training_config import TrainingConfig

    with Dataset.open(dataset_dir) as dataset:
        chosen = architecture or ("course" if dataset.features.preset == "course" else "residual")
        config = TrainingConfig.for_architecture(chosen, **options)
        source = DatasetSource(dataset)
        with _reports(config.epochs, as_json=as_json) as progress:
            digest = train_model(source, model_dir, config, resume=resume, progress=progress, evaluate=measure)
    print(
        json.dumps({"model": str(model_dir), "digest": digest})
        if as_json
        else f"{model_dir}: trained and saved, digest {digest}"
    )


@contextmanager
def _reports(epochs: int, *, as_json: bool) -> Iterator[Callable[[EpochReport], None]]:
    if as_json:
        yield _print_json
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("first epoch", total=epochs)

        def show(report: EpochReport) -> None:
            text = f"error {report.error:.5f}, held out {report.validation_error:.5f}, KL {report.kl:.0f}"
            bar.update(task, completed=report.epoch, description=text + (" (best)" if report.best else ""))

        yield show


def _print_json(report: EpochReport) -> None:
    print(json.dumps(asdict(report)), flush=True)
