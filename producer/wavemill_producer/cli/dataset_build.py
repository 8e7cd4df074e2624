"""`wavemill dataset build`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavemill.dataset.extents import LONG, Long
from wavemill.dataset.label_sources import LabelChoice
from wavemill.presets import Features
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, number_of, print_json, say
from wavemill_producer.cli.feature_choice import feature_options, features_from
from wavemill_producer.cli.problems import print_problems, spectrogram_bar
from wavemill_producer.cli.submitting import options

if TYPE_CHECKING:
    from wavemill.dataset.build import BuildReport
    from wavemill.dataset.labelling import LabelReport

_SHOWN_SPLITS = 3

label_options = options(
    click.option(
        "--metadata",
        type=FilePath(),
        metavar="FILE",
        help="Table of labels (.csv, .jsonl, .parquet) with a column file_name; each other column is a label. Columns "
        "start and duration, in seconds, choose parts of recordings. NeMo's manifests and NSynth's examples.json also "
        "work.  [default: metadata.csv, .jsonl, .parquet or examples.json in AUDIO_DIR]",
    ),
    click.option(
        "--label-pattern",
        "pattern",
        metavar="P",
        help="Labels from names, such as '{digit}_{speaker}_{index}'; {pitch:d} is a number.",
    ),
    click.option(
        "--labels-from-folders",
        "from_folders",
        is_flag=True,
        help="The label `label` is the name of the folder that holds the recording; folders named train, validation "
        "and test give the split.",
    ),
)


@click.command(epilog="Example: wavemill dataset build recordings data/fsdd --preset digits")
@click.argument("folders", metavar="[AUDIO_DIR] DATASET", type=FilePath(), nargs=-1, required=True)
@feature_options
@label_options
@click.option(
    "--long",
    type=click.Choice(LONG),
    help="Recordings longer than a frame: cut them, split them into frames, or keep each as one spectrogram.  "
    "[default: cut with the presets digits, digits-mel and course, else keep]",
)
@click.option(
    "--packed", is_flag=True, help="Store 64 spectrograms per file; for datasets of hundreds of thousands or more."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of processes. Default: depends on the amount of work.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Remove spectrograms whose recordings are gone, even if they are a fifth of the dataset or more.",
)
@click.option(
    "--from-batch",
    metavar="BATCH",
    help="Copy the generated sounds of this batch into AUDIO_DIR, a new folder, with their labels and ratings.  "
    "[default AUDIO_DIR: DATASET-recordings]",
)
@click.option(
    "--where", multiple=True, metavar="CONDITION",
    help="With --from-batch, only jobs that meet it, such as rating>=4; repeatable.",
)  # fmt: skip
@json_option
def build(
    folders: tuple[Path, ...],
    from_batch: str | None,
    where: tuple[str, ...],
    long: Long | None,
    packed: bool,
    jobs: int | None,
    prune: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Build DATASET from every recording below AUDIO_DIR, in any format that libsndfile reads.

    An ID is a recording's path below AUDIO_DIR without its suffix; `song@12.5-14` is the part of
    song.wav from 12.5 to 14 s, if a row of the table names it. Tar files count as folders. Run the
    command again after an interruption, or when recordings were added, changed or removed: it reuses
    the spectrograms of unchanged recordings, and a packed dataset stays packed. It also keeps the
    spectrograms of recordings that cannot be read now. `wavemill dataset suggest AUDIO_DIR` proposes
    the options.
    """
    from wavemill.dataset.build import build as build_dataset

    audio_dir, dataset_dir = _folders(folders, from_batch, where)
    choice = LabelChoice(**{name: given.pop(name) for name in ("metadata", "pattern", "from_folders")})
    features = features_from(given, dataset_dir, longest_s=partial(_fitting_duration_s, audio_dir, choice))
    with spectrogram_bar() as progress:
        report = build_dataset(
            audio_dir,
            dataset_dir,
            features,
            packed=packed or None,
            long=long,
            jobs=jobs,
            prune=prune,
            labels=choice,
            progress=progress,
        )
    for sentence in _losses(report, features):
        say(f"warning: {sentence}", err=True)
    if as_json:
        print_json(asdict(report))
        return
    kept = f", {report.kept} kept (recordings not readable now)" if report.kept else ""
    say(f"{dataset_dir}: {report.built} built, {report.reused} reused, {report.removed} removed{kept}")
    say(
        f"{report.cut} cut to {features.duration_s:.3f} s, {report.silent} silent, {len(report.skipped)} skipped, "
        f"{len(report.unreadable)} unreadable, {report.ignored} other files ignored"
    )
    if report.labels is not None:
        _print_labels(report.labels, from_folders=choice.from_folders)
    print_problems("unreadable", report.unreadable)
    print_problems("skipped", report.skipped)


def _folders(folders: tuple[Path, ...], from_batch: str | None, where: tuple[str, ...]) -> tuple[Path, Path]:
    """Return the folders of recordings and of the dataset; gather the recordings if they come from a batch."""
    if len(folders) > 2 or len(folders) < (2 if from_batch is None else 1):
        raise click.UsageError("expected AUDIO_DIR and DATASET, or --from-batch BATCH and DATASET")
    if where and from_batch is None:
        raise click.UsageError("--where chooses jobs of a batch: name it with --from-batch")
    dataset_dir = folders[-1]
    audio_dir = folders[0] if len(folders) == 2 else dataset_dir.with_name(f"{dataset_dir.name}-recordings")
    if from_batch is not None:
        from wavemill_producer.gathering import gather_sounds
        from wavemill_producer.producer import Producer

        with Producer.from_env() as producer:
            count = gather_sounds(producer, from_batch, audio_dir, where=where)
        say(f"copied {number_of(count, 'sound')} into {audio_dir}", err=True)
    return audio_dir, dataset_dir


def _fitting_duration_s(audio_dir: Path, choice: LabelChoice, features: Features) -> float:
    """Answer `--duration auto`."""
    from wavemill.dataset.suggestion import fitting_duration_s
    from wavemill.dataset.survey.survey import lengths_s

    return fitting_duration_s(lengths_s(audio_dir, labels=choice), features)


def _losses(report: BuildReport, features: Features) -> Iterator[str]:
    """Say what the spectrograms no longer hold of the recordings."""
    rate_hz, half_hz = features.sample_rate_hz, features.sample_rate_hz / 2
    for native_hz, count in report.resampled.items():
        lost = f"all above {half_hz:,.0f} Hz is lost" if native_hz > rate_hz else "the sound gains nothing by it"
        yield f"{number_of(count, 'recording')} at {native_hz:,} Hz became {rate_hz:,} Hz: {lost}"
    if report.mixed:
        yield f"{number_of(report.mixed, 'recording')} with several channels became mono"
    if report.cut:
        share = report.cut / max(report.spectrograms, 1)
        yield f"{report.cut} of {report.spectrograms} ({share:.0%}) are cut to {features.duration_s:.3f} s"


def _print_labels(labels: LabelReport, *, from_folders: bool) -> None:
    names = "names and folders" if from_folders else "names"
    source = f"from {labels.table or names}"
    say(f"{number_of(labels.labelled, 'spectrogram')} labelled {source}")
    if labels.without_row:
        say(f"  {labels.without_row} without a row there, such as {labels.without_row_examples[0]}")
    if labels.unused_rows:
        say(f"  {number_of(labels.unused_rows, 'row')} without a recording, such as {labels.unused_examples[0]}")
    if labels.repeated_rows:
        say(f"  {number_of(labels.repeated_rows, 'row')} left out, since a later row describes the same")
    if labels.overlapping_parts:
        example = labels.overlapping_examples[0]
        say(f"  {number_of(labels.overlapping_parts, 'part')} overlapping an earlier one, such as {example}")
    for split, count in list(labels.other_splits.items())[:_SHOWN_SPLITS]:
        say(f"  {count} with split={split}, which training leaves out: expected train, validation or test")
    if labels.left_out_columns:
        say(f"  left out, since labels are texts or numbers: {', '.join(labels.left_out_columns)}")
