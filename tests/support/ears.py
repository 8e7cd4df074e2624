"""An ear that hears what a test says: hand-made answers, so that what is made of them has a known result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.recogniser.listening import Listening
from wavemill.recogniser.recogniser import Heard


def heard(labels: dict[str, Sequence[str]], *answers: dict[str, tuple[str, float]]) -> Heard:
    """Return what was heard of sounds: for each the name and the confidence, by kind of label."""
    probabilities = {}
    for kind, values in labels.items():
        rows = np.zeros((len(answers), len(values)), np.float32)
        for row, answer in zip(rows, answers, strict=True):
            name, confidence = answer[kind]
            row[:] = (1 - confidence) / (len(values) - 1)
            row[list(values).index(name)] = confidence
        probabilities[kind] = rows
    return Heard(probabilities=probabilities, embedding=np.zeros((len(answers), 2), np.float32), labels=labels)


class Ear:
    """Gives its answers one after the other, whatever it hears, and keeps what it was given."""

    def __init__(self, labels: dict[str, Sequence[str]], *answers: dict[str, tuple[str, float]]) -> None:
        self.labels, self._answers, self.sounds = labels, list(answers), []

    def hear(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> Heard:
        self.sounds += signals
        return self._next(len(signals))

    def pictures(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        return Listening().pictures(signals, sample_rate_hz)

    def recognise(self, pictures: FloatArray) -> Heard:
        return self._next(len(pictures))

    def _next(self, count: int) -> Heard:
        given, self._answers = self._answers[:count], self._answers[count:]
        return heard(self.labels, *given)
