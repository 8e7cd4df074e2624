"""Looks at a folder of recordings: what a dataset of them must hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wavemill.audio.load import audio_suffixes
from wavemill.dataset.described import Described
from wavemill.dataset.label_sources import LabelChoice
from wavemill.dataset.marks import own_mark
from wavemill.dataset.sources import Findings, Problem, RecordingFile, find_recordings, require_folder, seen
from wavemill.dataset.survey.labels import LabelsFound, find_labels
from wavemill.dataset.survey.sample import draw, find_copies
from wavemill.dataset.survey.sounds import Header, Measured, measure, read_header
from wavemill.errors import AudioError, DatasetError

ProgressCallback = Callable[[int, int], None]  # called with: done, total

MOST_HEADERS = 2_000  # recordings that are opened
MOST_MEASURED = 300  # recordings that are read and measured
_RAW = ("durations_s", "bandwidths_hz")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How one figure is spread over the recordings."""

    least: float
    median: float
    high: float  # 95 % of the recordings have at most this
    greatest: float


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found. Recordings are counted among those that were opened, sounds among those that were measured."""

    audio_dir: str
    mark: str | None  # what wavemill itself has written into the folder
    recordings: int  # in the folder
    opened: int  # a random sample if there are many
    measured: int
    readable: int  # of those opened
    rates: dict[int, int]  # Hz -> recordings, the most frequent first
    channels: dict[int, int]  # -> recordings
    durations_s: Sequence[float] = field(repr=False)  # sorted
    bandwidths_hz: Sequence[float] = field(repr=False)  # sorted; of sounds that are not silent
    length_s: Spread
    total_s: float  # of the whole folder, estimated if there are many
    bandwidth_hz: Spread | None  # None: all are silent
    peak_dbfs: Spread
    rms_dbfs: Spread
    silent: int  # of those measured
    quiet_share: float  # of the time, in the median
    copies: list[list[str]]
    unreadable: list[Problem]
    skipped: list[Problem]
    ignored: int
    labels: LabelsFound

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, without the single lengths and bandwidths."""
        return {name: value for name, value in asdict(self).items() if name not in _RAW}


def survey(
    audio_dir: str | Path,
    *,
    labels: LabelChoice | None = None,
    seed: int = 0,
    most_headers: int = MOST_HEADERS,
    most_measured: int = MOST_MEASURED,
    progress: ProgressCallback | None = None,
) -> Survey:
    """Look at the recordings below a folder, or at a random sample of them.

    Parameters
    ----------
    audio_dir : str or Path
    labels : LabelChoice, optional
        Where labels come from, as for `build`.
    seed : int >= 0
        Draws the sample. The same seed draws the same files.
    most_headers, most_measured : int > 0
        At most this many recordings are opened, and of these measured.
    progress : callable, optional
        Called with the number of recordings measured and the number to measure.

    Raises
    ------
    DatasetError
        There is no such folder, no usable recording in it, or none that can be read.
    UsageError
        `labels` is wrong.
    """
    folder, findings = Path(audio_dir), Findings()
    choice = labels or LabelChoice()
    require_folder(folder)
    with Described.open(folder, choice) as described:
        chosen, count = _drawn(folder, findings, described, most_headers, seed)
        found_labels = find_labels(described, chosen, choice)
    headers, unreadable = _headers(folder, chosen)
    sounds = _measured(folder, headers[:most_measured], unreadable, progress or _no_progress)
    kept = _corrected(headers, sounds, {name for name, _ in unreadable})
    if not kept or not sounds:
        raise DatasetError(
            f"none of the {len(unreadable)} recordings looked at in {folder} can be read; the first: {unreadable[0][1]}"
        )
    durations_s = sorted(header.duration_s for header in kept)
    measured = list(sounds.values())
    bandwidths_hz = sorted(one.bandwidth_hz for one in measured if one.bandwidth_hz is not None)
    return Survey(
        audio_dir=str(folder),
        mark=own_mark(folder.resolve(), audio_suffixes()),
        recordings=count,
        opened=len(chosen),
        measured=len(measured),
        readable=len(kept),
        rates=_counts(header.rate_hz for header in kept),
        channels=_counts(header.channels for header in kept),
        durations_s=durations_s,
        bandwidths_hz=bandwidths_hz,
        length_s=_spread(durations_s),
        total_s=sum(durations_s) * count / len(chosen),
        bandwidth_hz=_spread(bandwidths_hz) if bandwidths_hz else None,
        peak_dbfs=_spread([one.peak_dbfs for one in measured]),
        rms_dbfs=_spread([one.rms_dbfs for one in measured]),
        silent=sum(one.silent for one in measured),
        quiet_share=float(np.median([one.quiet_share for one in measured])),
        copies=find_copies(folder, chosen),
        unreadable=sorted(unreadable),
        skipped=sorted(findings.skipped),
        ignored=findings.ignored,
        labels=found_labels,
    )


def lengths_s(
    audio_dir: str | Path, *, labels: LabelChoice | None = None, seed: int = 0, most_headers: int = MOST_HEADERS
) -> list[float]:
    """Return the sorted lengths of the recordings below a folder, or of a random sample; raises as `survey`."""
    folder = Path(audio_dir)
    require_folder(folder)
    with Described.open(folder, labels or LabelChoice()) as described:
        chosen, _ = _drawn(folder, Findings(), described, most_headers, seed)
    headers, unreadable = _headers(folder, chosen)
    if not headers:
        raise DatasetError(f"none of the recordings in {folder} can be read; the first: {unreadable[0][1]}")
    return sorted(header.duration_s for _, header in headers)


def _drawn(
    folder: Path, findings: Findings, described: Described, most: int, seed: int
) -> tuple[list[RecordingFile], int]:
    found = described.spread(find_recordings(folder, audio_suffixes(), findings), findings)
    chosen, count = draw(found, most=most, seed=seed)
    if not count:
        raise DatasetError(f"{folder} holds no usable recording{seen(findings)}")
    return chosen, count


def _headers(folder: Path, chosen: Sequence[RecordingFile]) -> tuple[list[tuple[RecordingFile, Header]], list[Problem]]:
    headers: dict[str, Header] = {}
    unreadable: list[Problem] = []
    for one in sorted(chosen, key=_place):
        try:
            headers[one.name] = read_header(folder, one)
        except AudioError as exc:
            unreadable.append((one.name, str(exc)))
    return [(one, headers[one.name]) for one in chosen if one.name in headers], unreadable


def _measured(
    folder: Path,
    headers: Sequence[tuple[RecordingFile, Header]],
    unreadable: list[Problem],
    progress: ProgressCallback,
) -> dict[str, Measured]:
    """Measure recordings; add those that cannot be read to `unreadable`."""
    sounds: dict[str, Measured] = {}
    for done, (one, header) in enumerate(sorted(headers, key=lambda item: _place(item[0]))):
        progress(done, len(headers))
        try:
            sounds[one.name] = measure(folder, one, header)
        except AudioError as exc:
            unreadable.append((one.name, str(exc)))
    progress(len(headers), len(headers))
    return sounds


def _place(recording: RecordingFile) -> str:
    """Order recordings by files, so that each tar file is listed once."""
    return recording.name


def _corrected(
    headers: Sequence[tuple[RecordingFile, Header]], sounds: dict[str, Measured], unreadable: set[str]
) -> list[Header]:
    """Return the headers of readable recordings, with the measured length where the whole was measured."""
    return [
        header if (whole_s := _whole_s(sounds.get(one.name))) is None else replace(header, duration_s=whole_s)
        for one, header in headers
        if one.name not in unreadable
    ]


def _whole_s(sound: Measured | None) -> float | None:
    return None if sound is None else sound.whole_s


def _counts(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], -item[0])))


def _spread(values: Sequence[float]) -> Spread:
    least, median, high, greatest = np.percentile(values, (0, 50, 95, 100))
    return Spread(least=float(least), median=float(median), high=float(high), greatest=float(greatest))


def _no_progress(_done: int, _total: int) -> None:
    """Show nothing."""
