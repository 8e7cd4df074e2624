"""The options of a command line that choose feature parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wavemill.dataset.manifest import MANIFEST_NAME, read_manifest
from wavemill.errors import UsageError
from wavemill.feature_options import FeatureOptions, chosen_features
from wavemill.presets import DEFAULT_PRESET, PRESETS, Features
from wavemill_cli.paths import FilePath
from wavemill_producer.cli.submitting import options

AUTO = "auto"  # the duration that fits the recordings
_SINGLE = ("sample_rate_hz", "n_fft", "hop_length", "mel_bands", "fmin_hz", "fmax_hz", "range_db")

feature_options = options(
    click.option(
        "--preset",
        "preset_name",
        metavar="NAME",
        help=f"Feature parameters: {', '.join(PRESETS)}.  [default: {DEFAULT_PRESET}]",
    ),
    click.option(
        "--features",
        "features_file",
        type=FilePath(),
        metavar="FILE",
        help="Feature parameters from a .json or .toml file; a model's model.json gives those of the model.",
    ),
    click.option("--sample-rate", "sample_rate_hz", type=click.IntRange(min=1), metavar="HZ", help="Sample rate."),
    click.option("--n-fft", type=click.IntRange(min=4), metavar="N", help="Window of the STFT, in samples."),
    click.option("--hop-length", type=click.IntRange(min=1), metavar="N", help="Samples from window to window."),
    click.option(
        "--duration",
        metavar="S",
        help="Length of a frame, which is what a model sees at once, in seconds; auto fits the recordings.",
    ),
    click.option("--mel-bands", type=click.IntRange(min=0), metavar="N", help="Mel bands; 0 for linear frequencies."),
    click.option("--fmin", "fmin_hz", type=click.FloatRange(min=0), metavar="HZ", help="Lowest mel band's edge."),
    click.option("--fmax", "fmax_hz", type=click.FloatRange(min=0), metavar="HZ", help="Highest frequency."),
    click.option("--range-db", type=click.FloatRange(min=0), metavar="DB", help="Range kept below the loudest bin."),
)


def features_from(
    given: dict[str, Any], dataset_dir: Path, *, longest_s: Callable[[Features], float] | None = None
) -> Features:
    """Return the features that the options in `given` ask for, and remove these options from it.

    Without any of them, a dataset that exists keeps its own. `longest_s` answers `--duration auto`:
    the length of a frame that fits the recordings.
    """
    preset_name, file, duration = (given.pop(name) for name in ("preset_name", "features_file", "duration"))
    single = {name: given.pop(name) for name in _SINGLE}
    if {preset_name, file, duration, *single.values()} == {None} and (dataset_dir / MANIFEST_NAME).is_file():
        return read_manifest(dataset_dir).features
    if duration == AUTO and longest_s is not None:
        base = chosen_features(preset_name, file, FeatureOptions(**single))
        return chosen_features(preset_name, file, FeatureOptions(**single, duration_s=longest_s(base)))
    return chosen_features(preset_name, file, FeatureOptions(**single, duration_s=_seconds(duration)))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--duration {text!r}: expected a number of seconds, or {AUTO}") from None
