"""`wavemill dataset suggest`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavemill.dataset.label_sources import LabelChoice
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import duration, json_option, number_of, print_json, print_table, say
from wavemill_producer.cli.dataset_build import label_options
from wavemill_producer.cli.problems import print_problems, spectrogram_bar

if TYPE_CHECKING:
    from wavemill.dataset.suggestion import Suggestion
    from wavemill.dataset.survey.labels import LabelFound, LabelsFound
    from wavemill.dataset.survey.survey import Survey

_EPOCHS = 40  # of the training that the estimate is given for


@click.command(epilog="Example: wavemill dataset suggest recordings")
@click.argument("audio_dir", metavar="AUDIO", type=FilePath())
@label_options
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the sample of a large folder."
)
@json_option
def suggest(audio_dir: Path, seed: int, as_json: bool, **given: Any) -> None:
    """Look at the recordings below AUDIO, and recommend how to build a dataset from them.

    Prints what was found, and the command that builds the dataset, with its reasons. Changes
    nothing. Of a folder of more than 2,000 recordings it opens a random sample of 2,000, and it
    measures the sound of at most 300.
    """
    from wavemill.dataset.suggestion import suggest as suggestion_for
    from wavemill.dataset.survey.survey import survey

    labels = LabelChoice(**given)
    with spectrogram_bar("recordings") as progress:
        found = survey(audio_dir, labels=labels, seed=seed, progress=progress)
    suggestion = suggestion_for(found, labels=labels)
    if as_json:
        print_json({"survey": found.as_dict(), "suggestion": suggestion.as_dict()})
        return
    print_table(("what", "found"), _rows(found), whole=("what",))
    print_problems("unreadable", found.unreadable)
    print_problems("skipped", found.skipped)
    if found.mark:
        say(f"warning: {audio_dir} {found.mark}", err=True)
    _print_suggestion(suggestion)


def _rows(found: Survey) -> Iterator[tuple[str, str]]:
    sampled = f", looked at {found.opened:,} of them, drawn at random" if found.opened < found.recordings else ""
    yield "recordings", f"{found.recordings:,}{sampled}; measured the sound of {found.measured:,}"
    yield "sample rates", ", ".join(f"{rate_hz:,} Hz: {count:,}" for rate_hz, count in found.rates.items())
    yield "channels", ", ".join(f"{channels}: {count:,}" for channels, count in found.channels.items())
    length = found.length_s
    yield (
        "lengths",
        f"{length.least:.2f} s to {length.greatest:.2f} s, median {length.median:.2f} s, 95 % up to "
        f"{length.high:.2f} s; {duration(found.total_s)} in all",
    )
    if (used := found.bandwidth_hz) is not None:
        yield (
            "bandwidth used",
            f"median {used.median:,.0f} Hz, 95 % up to {used.high:,.0f} Hz (within 60 dB of the loudest)",
        )
    for name, spread in (("peaks", found.peak_dbfs), ("RMS", found.rms_dbfs)):
        yield name, f"{spread.least:.1f} to {spread.greatest:.1f} dBFS, median {spread.median:.1f} dBFS"
    yield "silence", f"{found.silent:,} silent; {found.quiet_share:.0%} of a recording is quiet, in the median"
    yield "copies", _copies(found.copies)
    yield "unreadable", f"{len(found.unreadable):,}; {len(found.skipped):,} skipped, {found.ignored:,} other files"
    yield "labels", _labels(found.labels)


def _copies(groups: list[list[str]]) -> str:
    if not groups:
        return "none"
    return f"{sum(len(group) - 1 for group in groups):,}, such as {groups[0][1]} of {groups[0][0]}"


def _labels(labels: LabelsFound) -> str:
    source = f"in {labels.table}" if labels.table else "from folders" if labels.from_folders else "from names"
    missing = f"; {number_of(labels.without_row, 'recording')} without a row" if labels.without_row else ""
    if labels.found:
        return f"{source}: {'; '.join(map(_label, labels.found))}{missing}"
    if labels.possible_pattern:
        return f"none; names have parts, which can be named: --label-pattern '{labels.possible_pattern}'"
    return f"none{missing}"


def _label(label: LabelFound) -> str:
    shown = ", ".join(map(str, label.examples)) + (", ..." if label.values > len(label.examples) else "")
    return f"{label.name}, {label.values:,} {'numbers' if label.numbers else 'texts'} ({shown})"


def _print_suggestion(suggestion: Suggestion) -> None:
    say()
    say("Recommended, since:")
    for reason in suggestion.reasons:
        say(f"  {reason}")
    minutes = suggestion.epoch_s * _EPOCHS / 60
    say(
        f"  about {suggestion.n_bytes / 1e6:,.0f} MB; training the default network takes about "
        f"{suggestion.epoch_s:,.0f} s an epoch on two cores, {minutes:,.0f} minutes for {_EPOCHS} epochs"
    )
    say()
    say(suggestion.command)
