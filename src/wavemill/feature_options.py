"""Builds feature parameters from a preset or a file, and from single values that replace parts of it.

Imports no NumPy, so that the producer can use it.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields, replace
from math import ceil, log2
from pathlib import Path
from typing import Any

from wavemill.errors import UsageError
from wavemill.files.bounded import NotAFileError, TooLargeError, read_file
from wavemill.presets import DEFAULT_PRESET, PRESETS, Features, preset

OWN_NAME = "own"  # the name of parameters that are no preset's
_FRAME_STEP = 8  # networks halve the time axis three times
_MOST_FILE_BYTES = 2**20
_FILE_FORMATS = {".json": json.loads, ".toml": tomllib.loads}


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Values that replace parts of a preset. None leaves a part as it is, or derives it.

    A window or a hop that is not given keeps its length in seconds and its overlap when the sample
    rate or the window changes.
    """

    sample_rate_hz: int | None = None
    n_fft: int | None = None
    hop_length: int | None = None
    duration_s: float | None = None  # of the frame; rounded up to a number of frames that networks can halve
    mel_bands: int | None = None  # 0 makes linear frequencies of a preset's mel bands
    fmin_hz: float | None = None
    fmax_hz: float | None = None
    range_db: float | None = None

    def __bool__(self) -> bool:
        """Whether any value is given."""
        return any(getattr(self, one.name) is not None for one in fields(self))


def with_options(base: Features, options: FeatureOptions) -> Features:
    """Return `base` with the given values; the others are derived.

    Raises
    ------
    UsageError
        The values contradict each other; the message names the nearest that works.
    """
    if not options:
        return base
    rate_hz = _or(options.sample_rate_hz, base.sample_rate_hz)
    _require_positive(options)
    n_fft = options.n_fft or _window(base, rate_hz)
    if n_fft % 2:
        raise UsageError(f"n_fft {n_fft}: expected an even number; the nearest are {n_fft - 1} and {n_fft + 1}")
    hop_length = options.hop_length or max(1, round(n_fft * base.hop_length / base.n_fft))
    if hop_length > n_fft // 2:
        raise UsageError(
            f"hop_length {hop_length}: expected at most half of n_fft, since phases cannot be recovered from windows "
            f"that overlap by less; use a hop length of {n_fft // 2}, or an n_fft of {2 * hop_length}"
        )
    n_samples, n_frames = base.n_samples, base.n_frames
    if options.duration_s is not None or (rate_hz, n_fft, hop_length) != _geometry(base):
        n_frames = _n_frames(_or(options.duration_s, base.duration_s), rate_hz, n_fft, hop_length)
        n_samples = (n_frames - 1) * hop_length
    kind, n_bins, fmin_hz, fmax_hz = _bins(base, options, rate_hz, n_fft)
    features = Features(
        preset=OWN_NAME,
        kind=kind,
        sample_rate_hz=rate_hz,
        n_fft=n_fft,
        hop_length=hop_length,
        n_samples=n_samples,
        n_bins=n_bins,
        n_frames=n_frames,
        range_db=_or(options.range_db, base.range_db),
        fmin_hz=fmin_hz,
        fmax_hz=fmax_hz,
    )
    features.require_consistent()
    return named(features)


def chosen_features(preset_name: str | None, file: Path | None, options: FeatureOptions) -> Features:
    """Return the features that a command asks for: of a preset or of a file, with single values replaced."""
    if file is None:
        return with_options(preset(preset_name or DEFAULT_PRESET), options)
    if preset_name is not None:
        raise UsageError("choose one of --preset and --features")
    return with_options(read_features(file), options)


def read_features(file: Path) -> Features:
    """Read features from a JSON or TOML file.

    The file holds the names of `FeatureOptions`, over the preset named `preset` if there is one, or
    all fields of `Features`. A `model.json` or `dataset.json` gives the features in it.

    Raises
    ------
    UsageError
        The file cannot be read, or its values are unknown or contradict each other.
    """
    values = _parsed(file)
    if isinstance(inner := values.get("features"), dict):
        values = inner
    try:
        if "n_frames" in values:
            features = Features.from_dict({"preset": OWN_NAME, **values})
            features.require_consistent()
            return named(features)
        base = preset(str(values.get("preset", DEFAULT_PRESET)))
        return with_options(base, _options({name: value for name, value in values.items() if name != "preset"}))
    except UsageError as exc:
        raise UsageError(f"{file}: {exc}") from exc


def named(features: Features) -> Features:
    """Return the features under the name of the preset that they equal, else under `own`."""
    same = (known for known in PRESETS.values() if known == features)
    return next(same, replace(features, preset=OWN_NAME))


def mismatch(wanted: Features, found: Features, *, source: Path | str) -> str:
    """Say which parameters of `found` differ from `wanted`, and the command that gives the wanted ones.

    `source` is a file that holds the wanted features, such as a model's `model.json`.
    """
    known = named(wanted).preset
    options = f"--preset {known}" if known != OWN_NAME else f"--features {source}"
    command = f"wavemill dataset build AUDIO_DIR DATASET {options}"
    return f"{found.differences(wanted)}; build a dataset that fits with: {command}"


def _options(values: dict[str, Any]) -> FeatureOptions:
    known = {one.name for one in fields(FeatureOptions)}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"{', '.join(unknown)[:80]}: expected preset, {', '.join(sorted(known))}, or all of Features")
    for name, value in values.items():
        whole = name in {"sample_rate_hz", "n_fft", "hop_length", "mel_bands"}
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise UsageError(f"{name}: expected {'a whole number' if whole else 'a number'}, received {value!r:.40}")
    return FeatureOptions(**values)


def _parsed(file: Path) -> dict[str, Any]:
    parse = _FILE_FORMATS.get(file.suffix.lower())
    if parse is None:
        raise UsageError(f"{file}: expected a .json or a .toml file")
    try:
        values = parse(read_file(file, most_bytes=_MOST_FILE_BYTES).decode())
    except (OSError, ValueError, RecursionError, NotAFileError, TooLargeError) as exc:
        raise UsageError(f"{file} cannot be read: {exc}") from exc
    if not isinstance(values, dict):
        raise UsageError(f"{file}: expected an object of names and values")
    return values


def _require_positive(options: FeatureOptions) -> None:
    for one in fields(options):
        value, least = getattr(options, one.name), 0 if one.name in {"mel_bands", "fmin_hz"} else 1e-9
        if value is not None and not least <= value < 1e9:
            raise UsageError(f"{one.name}: expected a number over 0 and below 1e9, received {value!r:.40}")


def _window(base: Features, rate_hz: int) -> int:
    """Return the preset's window at another rate: the power of two, else the even number, next to its length."""
    wanted = base.n_fft * rate_hz / base.sample_rate_hz
    if base.n_fft & (base.n_fft - 1):
        return max(4, 2 * round(wanted / 2))
    return int(2 ** max(2, round(log2(wanted))))


def _geometry(features: Features) -> tuple[int, int, int]:
    return features.sample_rate_hz, features.n_fft, features.hop_length


def _n_frames(duration_s: float, rate_hz: int, n_fft: int, hop_length: int) -> int:
    """Return the number of frames that hold `duration_s`, and at least one window."""
    n_samples = max(round(duration_s * rate_hz), n_fft)
    return _FRAME_STEP * ceil((1 + ceil(n_samples / hop_length)) / _FRAME_STEP)


def _bins(base: Features, options: FeatureOptions, rate_hz: int, n_fft: int) -> tuple[Any, int, float, float | None]:
    """Return kind, number of bins, and the edges of the mel bands."""
    bands = options.mel_bands if options.mel_bands is not None else (base.n_bins if base.kind == "log-mel" else 0)
    top_hz = _or(options.fmax_hz, base.fmax_hz)
    if top_hz is not None and top_hz > rate_hz / 2:
        if options.fmax_hz is not None:
            raise UsageError(f"fmax_hz {top_hz:g}: expected at most {rate_hz / 2:g}, half the sample rate")
        top_hz = None
    if bands:
        return "log-mel", bands, _or(options.fmin_hz, base.fmin_hz), None if top_hz == rate_hz / 2 else top_hz
    if options.fmin_hz:
        raise UsageError("fmin_hz: only mel bands can begin above 0 Hz; add mel bands, or leave it out")
    # The highest row is left out: an even number of rows suits a network, and it holds next to nothing.
    return "stft-db", n_fft // 2 if top_hz is None else min(n_fft // 2, ceil(top_hz * n_fft / rate_hz)), 0.0, None


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
