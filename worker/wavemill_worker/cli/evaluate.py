"""`wavemill evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavemill.text.shown import shown
from wavemill.text.terminal import console
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_json, say

if TYPE_CHECKING:
    from wavemill.evaluation.evaluation import Evaluation

_folder = FilePath()

# The options that `wavemill compare` shares.
recordings_option = click.option(
    "--recordings",
    "recordings_dir",
    type=_folder,
    metavar="DIR",
    help="Recordings that DATASET was built from, to compare with. Default: compare with its inverted spectrograms.",
)
held_out_option = click.option(
    "--held-out",
    metavar="KEY=A,B",
    help="Clips to measure on.  [default: split=test if the dataset has it, else what the models held out]",
)
samples_option = click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=600,
    show_default=True,
    metavar="N",
    help="Number of samples to draw.",
)
pairs_option = click.option(
    "--pairs",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="Pairs of clips to interpolate between.",
)
recogniser_option = click.option(
    "--recogniser",
    "recogniser_dir",
    type=_folder,
    callback=lambda _context, _option, value: _found(value),
    metavar="FOLDER",
    help="Recogniser of the dataset's labels that listens to the outputs, such as recognisers/fsdd; see `wavemill "
    "recogniser train`.  [default: none, and no labels are heard]",
)


def _found(recogniser_dir: Path | None) -> Path | None:
    """Return the folder, or if it holds no recogniser, the shipped one of that name."""
    from wavemill.shipped import shipped_folder
    from wavemill.vae.folder.record import RECOGNISER_FILE

    if recogniser_dir is None or (recogniser_dir / RECOGNISER_FILE).exists():
        return recogniser_dir
    shipped = (shipped_folder("recognisers") or Path()) / recogniser_dir.name
    return shipped if (shipped / RECOGNISER_FILE).exists() else recogniser_dir


@click.command(epilog="Example: wavemill evaluate fsdd-vae data/fsdd --recordings recordings")
@click.argument("model_name", metavar="MODEL")
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@recordings_option
@held_out_option
@samples_option
@pairs_option
@recogniser_option
@click.option(
    "--output", type=_folder, default=Path("evaluation.json"), show_default=True, help="JSON file for the figures."
)
@json_option
def evaluate(model_name: str, output: Path, as_json: bool, **options: Any) -> None:
    """Measure MODEL on the held-out clips of DATASET.

    The recordings, and their spectrograms inverted without a model, are measured too, for
    comparison.

    Prints the figures and stores them as JSON: distances to the recordings, what recognisers hear,
    use of the latents, and quality of samples and interpolations. STOI and PocketSphinx need the
    extra `evaluate`, PESQ the extra `pesq`.
    """
    evaluation = run_evaluation([model_name], **options)
    figures = evaluation.as_dict()
    write_text(output, json.dumps(figures, indent=2, allow_nan=False) + "\n")
    if as_json:
        print_json(figures, allow_nan=False)
        return
    print_figures(figures)
    say(f"stored in {output}")


def run_evaluation(
    model_names: list[str],
    *,
    dataset_dir: Path,
    recordings_dir: Path | None,
    held_out: str | None,
    samples: int,
    pairs: int,
    recogniser_dir: Path | None,
) -> Evaluation:
    """Load the models, the dataset and the recogniser, and evaluate."""
    from wavemill.dataset.index import Dataset
    from wavemill.evaluation.evaluation import EvaluationConfig
    from wavemill.evaluation.evaluation import evaluate as evaluate_models
    from wavemill.recogniser.package import load_recogniser
    from wavemill.recogniser.recordings import Recordings
    from wavemill.settings import Settings
    from wavemill.vae.package import load_model

    models_dir = Settings.from_env().models
    with Dataset.open(dataset_dir) as dataset:
        return evaluate_models(
            [load_model(name, models_dir=models_dir) for name in model_names],
            dataset,
            None if recogniser_dir is None else load_recogniser(recogniser_dir),
            recordings=Recordings(recordings_dir) if recordings_dir else None,
            config=EvaluationConfig(held_out=held_out, n_samples=samples, n_pairs=pairs),
            progress=lambda text: say(text, err=True),
        )


def write_text(file: Path, text: str) -> None:
    """Write a text file and its folder; raise OutputError if that fails."""
    from wavemill.errors import OutputError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise OutputError(f"{file} cannot be written: {exc}") from exc


def print_figures(figures: Mapping[str, Any]) -> None:
    """Print the figures as a table, one row per measure and one column per rendition."""
    from rich.table import Table
    from rich.text import Text

    from wavemill.evaluation.measure_rows import measure_rows

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in figures["figures"]:
        table.add_column(Text(shown(name)), justify="right")
    for row in measure_rows(figures):
        table.add_row(*(Text(shown(cell)) for cell in (row.name, *row.cells)))
    console().print(table)
    for note in figures["notes"]:
        say(note)
