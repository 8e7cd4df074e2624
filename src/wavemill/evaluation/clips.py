"""Chooses the held-out clips that models are judged on, and reads their spectrograms and sounds."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wavemill.arrays import FloatArray
from wavemill.audio.features import extract, pad_or_cut
from wavemill.dataset.decibels import read_db
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import PresetMismatchError, UsageError
from wavemill.evaluation.own_part import OwnPart
from wavemill.labels import Labels
from wavemill.presets import Features
from wavemill.recogniser.recordings import Recordings
from wavemill.synthesis.sound import Spectrograms, spectrograms_to_audio
from wavemill.vae.training.dataset_source import audible_entries
from wavemill.vae.training.held_out import HeldOut

# From a larger dataset, this many clips are drawn, to bound the memory and the time of an
# evaluation.
MOST_HELD_OUT, MOST_OTHERS = 2_000, 4_000
PAGE_SIZE = 256  # clips read at a time

HOW = {
    "clips": (
        f"all held-out recordings, and for comparison all others. Of more than {MOST_HELD_OUT:,} held-out or "
        f"{MOST_OTHERS:,} other recordings, only that many are used: those whose IDs have the lowest SHA-256 digests"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Split:
    """A dataset's audible entries: those held out, and the others, which may be training data.

    Attributes
    ----------
    held_out, others : sorted by ID; at most `MOST_HELD_OUT` and `MOST_OTHERS`
    all_held_out, all_others : how many of each the whole dataset has
    """

    held_out: Sequence[Entry]
    others: Sequence[Entry]
    all_held_out: int
    all_others: int


def split(dataset: Dataset, rule: HeldOut | OwnPart) -> Split:
    """Split a dataset by a rule such as `index=5,6,7,8,9`; UsageError when a part is empty."""
    if isinstance(rule, HeldOut) and rule.key not in dataset.manifest.labels:
        known = ", ".join(dataset.manifest.labels) or "none"
        raise UsageError(f"--held-out expects LABEL=A,B with a label of the dataset ({known}), received '{rule}'")
    held_out, others = Draw(MOST_HELD_OUT), Draw(MOST_OTHERS)
    for entry in audible_entries(dataset):
        is_held_out = entry.labels in rule if isinstance(rule, HeldOut) else entry.spectrogram_id in rule.ids
        (held_out if is_held_out else others).offer(entry)
    if not held_out.offered or not others.offered:
        raise UsageError(
            f"--held-out '{rule}' holds out {held_out.offered} of {held_out.offered + others.offered} spectrograms; "
            "expected at least one and not all: choose other values of a label, as in --held-out index=5,6"
        )
    return Split(
        held_out=held_out.entries, others=others.entries, all_held_out=held_out.offered, all_others=others.offered
    )


class Draw:
    """A sample of at most `most` of the entries offered; it does not depend on their order."""

    def __init__(self, most: int) -> None:
        self.offered = 0
        self._most = most
        self._kept: list[tuple[int, str, Entry]] = []  # a heap: the next to be replaced comes first

    @property
    def entries(self) -> list[Entry]:
        """The entries drawn, sorted by ID."""
        return sorted((entry for _, _, entry in self._kept), key=lambda entry: entry.spectrogram_id)

    def offer(self, entry: Entry) -> None:
        """Count the entry, and keep it if its ID's SHA-256 is among the least so far."""
        self.offered += 1
        digest = hashlib.sha256(entry.spectrogram_id.encode()).digest()
        item = (-int.from_bytes(digest), entry.spectrogram_id, entry)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, item)
        else:
            heapq.heappushpop(self._kept, item)


def judged_features(features: Features) -> Features:
    """Return the features that sounds are judged in: the dataset's rate, window and hop, on linear frequencies."""
    return replace(
        features, preset="judged", kind="stft-db", n_bins=features.n_fft // 2, range_db=80.0, fmin_hz=0.0, fmax_hz=None
    )


class Clips:
    """Read entries of a dataset as spectrograms and as sound.

    With recordings, the recordings are the truth, and spectrograms with any model's features are
    computed from them. Without recordings, the dataset's inverted spectrograms are the truth, and
    only models with the dataset's own features can be judged.
    """

    def __init__(self, dataset: Dataset, recordings: Recordings | None) -> None:
        self._dataset, self._recordings = dataset, recordings
        self.judged = judged_features(dataset.features)

    @property
    def has_recordings(self) -> bool:
        """True when the truth is the recordings themselves."""
        return self._recordings is not None

    def spectrograms(self, entries: Sequence[Entry], features: Features) -> list[FloatArray]:
        """Return spectrograms in dB, float32 [shape=(n_bins, frames)] each.

        Raises
        ------
        PresetMismatchError
            When `features` differ from the dataset's and there are no recordings.
        """
        if features == self._dataset.features:
            return [read_db(self._dataset, entry) for entry in entries]
        if self._recordings is None:
            raise PresetMismatchError(
                f"{self._dataset.path} does not fit the model: it has {self._dataset.features.differences(features)}; "
                "give the recordings with --recordings DIR, or build a dataset with the model's features"
            )
        signals = [self._read(entry, features) for entry in entries]
        return [extract(pad_or_cut(signal, max(len(signal), features.n_samples)), features) for signal in signals]

    def truth(self, entries: Sequence[Entry]) -> list[FloatArray]:
        """Return the true sounds at the judged rate, float32 [shape=(samples,)] each."""
        if self._recordings is not None:
            return [self._read(entry, self.judged) for entry in entries]
        features = self._dataset.features
        lengths_s = [entry.duration_s for entry in entries]
        made = self.spectrograms(entries, features)
        return sounds(made, features, lengths_s, self.judged.sample_rate_hz, peaks=peaks(entries))

    def _read(self, entry: Entry, features: Features) -> FloatArray:
        assert self._recordings is not None  # the callers have asked
        frame_s = self._dataset.features.duration_s
        longest_s = entry.duration_s if entry.duration_s > frame_s else None
        return self._recordings.read(entry.spectrogram_id, features, longest_s=longest_s, frame_s=frame_s)

    def truth_in_pages(self, entries: Sequence[Entry]) -> Iterator[list[FloatArray]]:
        """Yield `truth` for a page of entries at a time."""
        for first in range(0, len(entries), PAGE_SIZE):
            yield self.truth(entries[first : first + PAGE_SIZE])


def lengths_s(truth: Sequence[FloatArray], sample_rate_hz: int) -> list[float]:
    """Return the true lengths of sounds; the dataset's features may have cut the sounds short."""
    return [len(signal) / sample_rate_hz for signal in truth]


def labels(entries: Sequence[Entry]) -> list[Labels]:
    """Return each entry's labels."""
    return [entry.labels for entry in entries]


def peaks(entries: Sequence[Entry]) -> list[float | None]:
    """Return the peak of each recording, None where the index does not have it."""
    return [entry.peak for entry in entries]


def sounds(
    spectrograms: Spectrograms,
    features: Features,
    lengths_s: Sequence[float],
    sample_rate_hz: int,
    *,
    peaks: Sequence[float | None] | None = None,
    are_samples: bool = False,
) -> list[FloatArray]:
    """Invert spectrograms in dB, (n_bins, frames) each -> sounds at a rate, float32 [shape=(samples,)] each."""
    drawn = [are_samples] * len(spectrograms)
    made = spectrograms_to_audio(spectrograms, features, durations_s=lengths_s, peaks=peaks, are_samples=drawn)
    if features.sample_rate_hz == sample_rate_hz:
        return made
    import librosa

    return [librosa.resample(signal, orig_sr=features.sample_rate_hz, target_sr=sample_rate_hz) for signal in made]
