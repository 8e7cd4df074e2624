"""`wavemill recogniser`: train, show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from wavemill.text.shown import json_text
from wavemill.text.terminal import progress_bar
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_json, say
from wavemill_worker.cli.free import require_free

_folder = FilePath()


@click.group()
def recogniser() -> None:
    """Train and show the recogniser that judges models."""


@recogniser.command(epilog="Example: wavemill recogniser train recordings recognisers/mine --held-out index=5,6,7,8,9")
@click.argument("recordings_dir", metavar="RECORDINGS", type=_folder)
@click.argument("folder", metavar="FOLDER", type=_folder)
@click.option(
    "--dataset",
    "dataset_dir",
    type=_folder,
    metavar="DATASET",
    help="Dataset built from RECORDINGS: gives labels, splits, rate and length. Default: labels in names, at 8 kHz.",
)
@click.option(
    "--label",
    "kinds",
    multiple=True,
    metavar="NAME",
    help="Label to learn; may be repeated. Numbers with many values are learnt in ranges. Default: all that it can.",
)
@click.option(
    "--held-out",
    metavar="KEY=A,B",
    help="Recordings to test it on, not to train on.  [default: by the label split, else index=5,6,7,8,9, "
    "else a fifth at random]",
)
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Passes over the recordings.")
@click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Seed of weights, order and augmentation.")
@click.option("--data", metavar="TEXT", help="Whose recordings these are, for the recogniser's card.")
@click.option("--licence", metavar="TEXT", help="Licence of the recordings, for the recogniser's card.")
@click.option("--overwrite", is_flag=True, help="Replace the recogniser that FOLDER holds.")
@json_option
def train(
    recordings_dir: Path,
    folder: Path,
    dataset_dir: Path | None,
    data: str | None,
    licence: str | None,
    overwrite: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Train a recogniser on the recordings below RECORDINGS, and save it as FOLDER.

    Labels come from --dataset, or from names such as 7_george_0.wav. Where they have a label split,
    it trains on train, calibrates on validation and reports on test.

    Never train a model against it: its judgement of that model would then mean nothing.
    """
    from dataclasses import replace
    from typing import Any

    if not overwrite:
        require_free(folder, "FOLDER")
    from wavemill.dataset.index import Dataset
    from wavemill.recogniser.recordings import Recordings
    from wavemill.recogniser.training import RecogniserConfig, train_recogniser

    chosen: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    config = replace(RecogniserConfig(), **chosen)
    about = {name: text for name, text in (("data", data), ("licence", licence)) if text}
    opened = nullcontext() if dataset_dir is None else Dataset.open(dataset_dir)
    with opened as dataset, _progress(config.epochs, as_json=as_json) as progress:
        digest = train_recogniser(
            Recordings(recordings_dir), folder, config, dataset=dataset, about=about, progress=progress
        )
    if as_json:
        print_json({"recogniser": str(folder), "digest": digest})
    else:
        say(f"{folder}: saved, digest {digest}")


@recogniser.command(epilog="Example: wavemill recogniser show recognisers/fsdd")
@click.argument("folder", metavar="FOLDER", type=_folder)
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show which labels the recogniser in FOLDER tells apart, and how well."""
    from wavemill.recogniser.package import load_recogniser

    loaded = load_recogniser(folder)
    record = {**loaded.record.as_dict(), "digest": loaded.digest}
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        say(f"{key}: {json_text(value) if isinstance(value, dict) else value}")


@contextmanager
def _progress(epochs: int, *, as_json: bool) -> Iterator[Callable[[int, float], None]]:
    if as_json:
        yield lambda epoch, loss: print_json({"epoch": epoch, "epochs": epochs, "loss": loss})
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with progress_bar(*columns, stderr=False) as bar:
        task = bar.add_task("first epoch", total=epochs)
        yield lambda epoch, loss: bar.update(task, completed=epoch, description=f"loss {loss:.4f}")
