"""Recommends feature parameters for the recordings that a survey has looked at."""

from __future__ import annotations

import shlex
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log2
from pathlib import Path
from typing import Any

from wavemill.dataset.extents import Long, frames_of, usual_long
from wavemill.dataset.label_sources import LabelChoice
from wavemill.dataset.survey.survey import Survey
from wavemill.feature_options import OWN_NAME, FeatureOptions, named, with_options
from wavemill.presets import PRESETS, Features, preset

MOST_NUMBERS = 2**17  # of a frame: a network trains on it in minutes an epoch
_NEARLY_ALL = 0.99  # of the recordings that a frame should hold whole
_MOST_WHOLE_S = 3.0  # the longest frame that holds recordings whole
_WINDOW_S = 1.0  # a frame of longer recordings: a model with 128 numbers a second keeps speech intelligible
_MOST_RATE_HZ = 48_000
_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100)
_MARGIN = 1.1  # half of a lower rate must lie this far above the bandwidth that is used
_BASES = ("digits", "speech", "music")  # presets whose windows were chosen by measurement; the nearest rate counts
_MANY = 100_000  # recordings, of which the spectrograms are packed
_ROOMY = 1.25  # a preset with up to this many times the frames is recommended instead of a frame of its own
# An epoch of the default network on two cores, measured on three shapes (docs/why.md).
_S_PER_CLIP = 5e-3
_S_PER_NUMBER = 0.32e-6


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Options of `wavemill dataset build`, and why these."""

    features: Features
    long: Long | None  # "keep", or None for the usual
    command: str
    share_whole: float  # of the recordings, that one frame holds
    share_of_bandwidths: float  # of the sounds, of which no used frequency is lost
    numbers: int  # in a frame
    n_bytes: int  # of the dataset, about
    epoch_s: float  # of the default network on two cores, about
    reasons: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


def suggest(
    found: Survey, *, labels: LabelChoice | None = None, dataset_dir: Path | None = None, cwd: Path | None = None
) -> Suggestion:
    """Recommend how to build a dataset from the recordings of a survey.

    Parameters
    ----------
    found : Survey
    labels : LabelChoice, optional
        Repeated in the command.
    dataset_dir : Path, optional
        Where to build. By default a new folder in `data`.
    cwd : Path, optional
        The folder that the command will be run in, by default the working folder.
    """
    rate_hz = _rate_hz(found)
    features = _with_frame(_base(rate_hz), found.durations_s, rate_hz)
    share_whole = _share_within(found.durations_s, features.duration_s)
    long: Long | None = "keep" if share_whole < _NEARLY_ALL else None
    numbers = features.n_bins * features.n_frames
    target = dataset_dir or _free_folder(Path(found.audio_dir), cwd or Path.cwd())
    return Suggestion(
        features=features,
        long=long,
        command=_command(found, features, long, labels or LabelChoice(), target),
        share_whole=share_whole,
        share_of_bandwidths=_share_within(found.bandwidths_hz, rate_hz / 2),
        numbers=numbers,
        n_bytes=_n_bytes(found, features, long),
        epoch_s=_n_frames(found, features, long) * (_S_PER_CLIP + numbers * _S_PER_NUMBER),
        reasons=[*_rate_reasons(found, rate_hz), *_frame_reasons(features, share_whole), *_packed_reasons(found)],
    )


def fitting_duration_s(durations_s: Sequence[float], features: Features) -> float:
    """Return the length of a frame that holds nearly all recordings; about a second where that is too long.

    A model describes each frame with the same count of numbers, so longer frames sound worse: it
    rather sees long recordings in several windows. No frame has more than 2^17 numbers.

    Parameters
    ----------
    durations_s : sequence of float, sorted, not empty
    features : Features
        Rate, window, hop and bins of the frame; its length is not used.
    """
    whole_s = durations_s[max(0, ceil(_NEARLY_ALL * len(durations_s)) - 1)]
    wanted_s = whole_s if whole_s <= _MOST_WHOLE_S else _WINDOW_S
    most_frames = max(8, MOST_NUMBERS // features.n_bins // 8 * 8)  # networks halve the time axis three times
    return min(wanted_s, (most_frames - 1) * features.hop_length / features.sample_rate_hz)


def _rate_hz(found: Survey) -> int:
    """Return the rate of most recordings, or a lower one that holds all that they use."""
    usual_hz = min(next(iter(found.rates)), _MOST_RATE_HZ)
    if found.bandwidth_hz is None:
        return usual_hz
    lower = (rate_hz for rate_hz in _RATES_HZ if rate_hz < usual_hz)
    return next((rate_hz for rate_hz in lower if found.bandwidth_hz.high * _MARGIN <= rate_hz / 2), usual_hz)


def _base(rate_hz: int) -> Features:
    return min(map(preset, _BASES), key=lambda one: abs(log2(one.sample_rate_hz / rate_hz)))


def _with_frame(base: Features, durations_s: Sequence[float], rate_hz: int) -> Features:
    """Return features at a rate with a frame that fits: a preset's if one fits as well."""
    at_rate = with_options(base, FeatureOptions(sample_rate_hz=rate_hz))
    own = with_options(
        base, FeatureOptions(sample_rate_hz=rate_hz, duration_s=fitting_duration_s(durations_s, at_rate))
    )
    fitting = [
        known
        for known in PRESETS.values()
        if _geometry(known) == _geometry(own) and own.n_frames <= known.n_frames <= _ROOMY * own.n_frames
    ]
    return min(fitting, key=lambda known: known.n_frames, default=own)


def _geometry(features: Features) -> tuple[int, int, int, int, str]:
    return features.sample_rate_hz, features.n_fft, features.hop_length, features.n_bins, features.kind


def _rounded(duration_s: float) -> float:
    """Return the length of a frame in whole milliseconds, never more, since a frame is rounded up to whole hops."""
    return floor(duration_s * 1_000 + 1e-6) / 1_000


def _share_within(values: Sequence[float], limit: float) -> float:
    """Return the share of sorted values up to a limit; 1 if there is none."""
    return bisect_right(values, limit + 1e-9) / len(values) if values else 1.0


def _n_bytes(found: Survey, features: Features, long: Long | None) -> int:
    long, rate_hz = long or usual_long(features), features.sample_rate_hz
    spectra = sum(frames_of(features, long, round(one * rate_hz)) for one in found.durations_s)
    return round(4 * features.n_bins * spectra * found.recordings / found.opened)


def _n_frames(found: Survey, features: Features, long: Long | None) -> float:
    """Return how many frames a network is trained on."""
    count = sum(max(1, ceil(one / features.duration_s)) if long else 1 for one in found.durations_s)
    return count * found.recordings / found.opened


def _rate_reasons(found: Survey, rate_hz: int) -> list[str]:
    usual_hz, count = next(iter(found.rates.items()))
    reasons = [f"{usual_hz:,} Hz is the rate of {count:,} of {found.readable:,} recordings"]
    if usual_hz > _MOST_RATE_HZ and rate_hz == _MOST_RATE_HZ:
        reasons.append(f"{rate_hz:,} Hz holds all that can be heard")
    elif rate_hz < usual_hz and found.bandwidth_hz is not None:
        used_hz = found.bandwidth_hz.high
        reasons.append(f"{rate_hz:,} Hz is enough, since 95 % of them use nothing above {used_hz:,.0f} Hz")
    reasons.append(_bandwidth_reason(found, rate_hz / 2))
    if mixed := sum(count for channels, count in found.channels.items() if channels > 1):
        reasons.append(f"{mixed:,} with several channels become mono")
    return reasons


def _bandwidth_reason(found: Survey, half_hz: float) -> str:
    if found.bandwidth_hz is None:
        return "all recordings that were measured are silent, so nothing says which rate they need"
    kept = _share_within(found.bandwidths_hz, half_hz)
    if kept == 1:
        return "all recordings keep their bandwidth"
    least = half_hz / found.bandwidth_hz.greatest
    return f"{kept:.0%} of the recordings keep their bandwidth, the others at least {least:.0%} of it"


def _frame_reasons(features: Features, share_whole: float) -> list[str]:
    numbers = features.n_bins * features.n_frames
    frame = f"a frame of {features.duration_s:.3f} s ({features.n_bins} x {features.n_frames} = {numbers:,} numbers)"
    if share_whole >= _NEARLY_ALL:
        return [f"{frame} holds {'all' if share_whole == 1 else f'{share_whole:.1%} of the'} recordings whole"]
    return [
        f"{frame} holds {share_whole:.0%} of the recordings whole; a longer one leaves fewer numbers to each second",
        "--long keep makes one spectrogram of its own length of each longer recording, and models see it in windows",
    ]


def _packed_reasons(found: Survey) -> list[str]:
    if found.recordings < _MANY:
        return []
    return [f"--packed puts 64 spectrograms into each file, since {found.recordings:,} files are slow to copy"]


def _command(found: Survey, features: Features, long: Long | None, labels: LabelChoice, dataset_dir: Path) -> str:
    parts = ["wavemill", "dataset", "build", _argument(Path(found.audio_dir)), _argument(dataset_dir)]
    parts += _feature_options(features)
    parts += ["--long", long] if long else []
    parts += ["--packed"] if found.recordings >= _MANY else []
    parts += ["--metadata", _argument(labels.metadata)] if labels.metadata else []
    parts += ["--label-pattern", labels.pattern] if labels.pattern else []
    parts += ["--labels-from-folders"] if found.labels.from_folders else []
    return shlex.join(parts)


def _feature_options(features: Features) -> list[str]:
    if (name := named(features).preset) != OWN_NAME:
        return ["--preset", name]
    base = _base(features.sample_rate_hz)
    rate = ["--sample-rate", str(features.sample_rate_hz)] if features.sample_rate_hz != base.sample_rate_hz else []
    return ["--preset", base.preset, *rate, "--duration", f"{_rounded(features.duration_s):g}"]


def _argument(path: Path) -> str:
    """Return a path that no command line takes for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _free_folder(audio_dir: Path, cwd: Path) -> Path:
    """Return a folder in `data` that does not exist, named after the recordings'."""
    name = audio_dir.resolve().name or "recordings"
    names = [name, f"{name}-dataset", *(f"{name}-dataset-{k}" for k in range(2, 1_000))]
    return next(Path("data", one) for one in names if not (cwd / "data" / one).exists())
