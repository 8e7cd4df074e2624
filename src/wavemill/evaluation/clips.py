"""The recordings to judge by: which are held out, their spectrograms in any features, their sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.features import denormalise, extract, pad_or_cut
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import PresetMismatchError, UsageError
from wavemill.generation import spectrograms_to_audio
from wavemill.presets import PRESETS, Features
from wavemill.recogniser.recordings import Recordings

FloatArray = NDArray[np.float32]

# All sounds are judged at this rate and length: it is the rate of the telephone measure PESQ and of the recordings.
JUDGED = PRESETS["digits"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """A dataset's audible entries: those to judge by, and the rest, which a model may have been trained on."""

    held_out: Sequence[Entry]
    others: Sequence[Entry]


def split(dataset: Dataset, rule: str) -> Split:
    """Divide a dataset by a rule such as `index=5,6,7,8,9`; UsageError when either part would be empty."""
    key, separator, values = rule.partition("=")
    if not separator or key not in dataset.manifest.labels:
        known = ", ".join(dataset.manifest.labels) or "none"
        raise UsageError(f"--held-out expects LABEL=A,B with a label of the dataset ({known}), received {rule!r}")
    found = dataset.get_many(list(dataset.ids()))
    entries = [found[name] for name in sorted(found) if found[name].max_db > found[name].min_db]
    chosen = [entry.labels.get(key) in values.split(",") for entry in entries]
    held_out = [entry for entry, yes in zip(entries, chosen, strict=True) if yes]
    others = [entry for entry, yes in zip(entries, chosen, strict=True) if not yes]
    if not held_out or not others:
        raise UsageError(
            f"of {len(entries)} spectrograms {len(held_out)} are held out by {rule!r}; expected some and not all"
        )
    return Split(held_out=held_out, others=others)


class Clips:
    """Reads entries of a dataset as spectrograms and as sound.

    With the recordings, the truth is the recordings and any model's features can be made from them. Without, the
    truth is the dataset's spectrograms after inversion, and only models of the dataset's own features can be judged.
    """

    def __init__(self, dataset: Dataset, recordings: Recordings | None) -> None:
        self._dataset, self._recordings = dataset, recordings

    @property
    def has_recordings(self) -> bool:
        """Whether the truth is the recordings themselves."""
        return self._recordings is not None

    def spectrograms(self, entries: Sequence[Entry], features: Features) -> FloatArray:
        """Return spectrograms in dB, float32 [shape=(len(entries), n_bins, n_frames)].

        Raises
        ------
        PresetMismatchError
            When they are not the dataset's features and there are no recordings to make them from.
        """
        if features == self._dataset.features:
            return np.stack([denormalise(read_spectrogram(self._dataset, e), e.min_db, e.max_db) for e in entries])
        if self._recordings is None:
            raise PresetMismatchError(
                f"the model wants preset {features.preset!r}, {self._dataset.path} holds "
                f"{self._dataset.features.preset!r}; give the recordings with --recordings DIR"
            )
        signals = [self._recordings.read(entry.spectrogram_id, features) for entry in entries]
        return np.stack([extract(pad_or_cut(signal, features.n_samples), features) for signal in signals])

    def truth(self, entries: Sequence[Entry]) -> list[FloatArray]:
        """Return the true sounds at 8 kHz, float32 [shape=(samples,)] each."""
        if self._recordings is not None:
            return [self._recordings.read(entry.spectrogram_id, JUDGED) for entry in entries]
        features = self._dataset.features
        return sounds(self.spectrograms(entries, features), features, durations_s(entries))


def durations_s(entries: Sequence[Entry]) -> list[float]:
    """Return how long each entry's sound is."""
    return [entry.duration_s for entry in entries]


def labels(entries: Sequence[Entry]) -> list[Mapping[str, str]]:
    """Return each entry's labels."""
    return [entry.labels for entry in entries]


def sounds(spectrograms: FloatArray, features: Features, lengths_s: Sequence[float]) -> list[FloatArray]:
    """Invert spectrograms in dB, (B, n_bins, n_frames) -> B sounds at 8 kHz, float32 [shape=(samples,)] each."""
    made = spectrograms_to_audio(spectrograms, features, durations_s=lengths_s)
    if features.sample_rate_hz == JUDGED.sample_rate_hz:
        return made
    import librosa

    return [
        librosa.resample(signal, orig_sr=features.sample_rate_hz, target_sr=JUDGED.sample_rate_hz) for signal in made
    ]
