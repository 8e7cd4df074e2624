"""`wavemill dataset`: suggest, build, import, show, list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError, WavemillError
from wavemill.presets import Features
from wavemill.text.shown import json_text
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_id, print_json, say
from wavemill_producer.cli.dataset_build import build
from wavemill_producer.cli.dataset_suggest import suggest
from wavemill_producer.cli.problems import print_problems, spectrogram_bar

_folder = FilePath()

_LONG = {"cut": "cut", "split": "split into frames", "keep": "kept as one spectrogram"}


@click.group()
def dataset() -> None:
    """Build, import and inspect datasets of spectrograms."""


dataset.add_command(build)
dataset.add_command(suggest)


@dataset.command(
    "import-course",
    epilog="Example: wavemill dataset import-course fsdd/spectrograms fsdd/min_max_values.pkl data/course",
)
@click.argument("spectrograms_dir", type=_folder)
@click.argument("min_max_pkl", type=_folder)
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@json_option
def import_course(spectrograms_dir: Path, min_max_pkl: Path, dataset_dir: Path, as_json: bool) -> None:
    """Import a course project's spectrograms.

    Reads its .npy files and its pickle of minima and maxima. No code in the pickle is run.
    """
    from wavemill.dataset.course import import_course as import_course_files

    with spectrogram_bar() as progress:
        report = import_course_files(spectrograms_dir, min_max_pkl, dataset_dir, progress=progress)
    if as_json:
        print_json(asdict(report))
        return
    say(f"{dataset_dir}: {report.imported} imported, {len(report.unreadable)} unreadable")
    say(f"{len(report.without_range)} files not in the pickle, {len(report.without_file)} names in it without a file")
    print_problems("unreadable", report.unreadable)
    print_problems("skipped", [(name, "the pickle has no minimum and maximum for it") for name in report.without_range])


@dataset.command(epilog="Example: wavemill dataset show data/fsdd")
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@json_option
def show(dataset_dir: Path, as_json: bool) -> None:
    """Show how DATASET was made and what it holds."""
    with Dataset.open(dataset_dir) as opened:
        manifest = opened.manifest
    if as_json:
        print_json({"dataset": str(dataset_dir), "preset": manifest.features.preset, **asdict(manifest)})
        return
    say(f"{dataset_dir}: {_describe(manifest.features)}")
    say(", ".join(f"{count} {name}" for name, count in manifest.counts.items()))
    say(f"labels: {', '.join(manifest.labels) or 'none'}; made by wavemill {manifest.wavemill_version}")
    say(f"recordings longer than a frame are {_LONG[manifest.long]}")
    if manifest.packed:
        say("packed: many spectrograms per file")


@dataset.command(epilog="Example: wavemill dataset ids data/fsdd --where digit=7 --where speaker=george")
@click.argument("dataset_dir", metavar="DATASET", type=_folder)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="LABEL=VALUE",
    help="List only IDs with this label; may be repeated.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List at most N IDs.")
@json_option
def ids(dataset_dir: Path, conditions: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """List the IDs of DATASET, sorted, one per line."""
    with Dataset.open(dataset_dir) as opened:
        found = islice(opened.ids(dict(map(_condition, conditions))), limit)
        for line in _entry_lines(opened, found) if as_json else found:
            print_id(line)


def _entry_lines(opened: Dataset, found: Iterator[str]) -> Iterator[str]:
    while page := list(islice(found, 1_000)):
        entries = opened.get_many(page)
        for spectrogram_id in page:
            yield json_text(
                asdict(entries[spectrogram_id]) if spectrogram_id in entries else _why(opened, spectrogram_id)
            )


def _why(opened: Dataset, spectrogram_id: str) -> dict[str, str]:
    """Return the error for an ID that the index lists but has no entry for."""
    try:
        opened.get(spectrogram_id)
    except WavemillError as exc:
        return {"spectrogram_id": spectrogram_id, "error_code": exc.code, "error": str(exc)}
    return {"spectrogram_id": spectrogram_id}


def _condition(text: str) -> tuple[str, str]:
    label, separator, value = text.partition("=")
    if not (label and separator):
        raise UsageError(f"--where expects LABEL=VALUE, such as digit=7; received {text!r}")
    return label, value


def _describe(features: Features) -> str:
    return (
        f"preset {features.preset}, {features.sample_rate_hz} Hz, n_fft {features.n_fft}, hop {features.hop_length}, "
        f"{features.n_bins} x {features.n_frames}, {features.duration_s:.3f} s, "
        f"range {features.range_db:g} dB, {features.kind}"
    )
