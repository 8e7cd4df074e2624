"""Listens without a recogniser: pictures of sounds and a plain summary of them, but no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.presets import Features
from wavemill.recogniser.listening import Listening
from wavemill.recogniser.recogniser import Heard, Recogniser


class PlainEar:
    """What `Recogniser` offers, for any sounds: it knows no labels, and a sound's embedding is a plain summary.

    The embedding is the mean and the standard deviation over time of each mel band.
    """

    labels: Mapping[str, Sequence[str]] = {}

    def __init__(self, features: Features) -> None:
        self.listening = Listening.suited_to(features)

    def pictures(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Return the log-mel pictures of sounds; see `Listening.pictures`."""
        return self.listening.pictures(signals, sample_rate_hz)

    def hear(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> Heard:
        """Summarise sounds, each float32 [shape=(samples,)], at any rate."""
        return self.recognise(self.pictures(signals, sample_rate_hz))

    def recognise(self, pictures: FloatArray) -> Heard:
        """Summarise the results of `pictures`, (B, M, T)."""
        summary = np.concatenate([pictures.mean(axis=2), pictures.std(axis=2)], axis=1)  # (B, M, T) -> (B, 2M)
        return Heard(probabilities={}, embedding=summary, labels={})


Ear = Recogniser | PlainEar
