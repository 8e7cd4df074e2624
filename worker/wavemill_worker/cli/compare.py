"""`wavemill compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_json, say
from wavemill_worker.cli.evaluate import (
    held_out_option,
    pairs_option,
    print_figures,
    recogniser_option,
    recordings_option,
    run_evaluation,
    samples_option,
    write_text,
)

_folder = FilePath()


@click.command(epilog="Example: wavemill compare fsdd-vae mine data/fsdd --recordings recordings --report report.html")
@click.argument("model_names", metavar="MODEL...", nargs=-1, required=True)
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@click.option("--report", type=_folder, required=True, metavar="FILE", help="HTML file to write the page to.")
@click.option(
    "--clips",
    "n_clips",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    metavar="N",
    help="Clips to show and play on the page; the figures are those of all clips.",
)
@click.option(
    "--show",
    type=click.Choice(["spread", "worst"]),
    default="spread",
    show_default=True,
    help="Which clips: from the worst to the best, or only the worst.",
)
@recordings_option
@held_out_option
@samples_option
@pairs_option
@recogniser_option
@json_option
def compare(model_names: tuple[str, ...], report: Path, n_clips: int, show: str, as_json: bool, **options: Any) -> None:
    """Measure each MODEL on the held-out clips of DATASET and write a page that compares them.

    The page shows figures, pictures and players side by side. It is one file that needs no network.
    To make its pictures and layout, install the extra `evaluate`.
    """
    from wavemill.evaluation.page import page

    evaluation = run_evaluation(list(dict.fromkeys(model_names)), **options)
    write_text(report, page(evaluation, n_clips=n_clips, show=show))
    figures = evaluation.as_dict()
    if as_json:
        print_json(figures, allow_nan=False)
        return
    print_figures(figures)
    say(f"{report}: {min(n_clips, figures['clips'])} clips to look at and listen to")
