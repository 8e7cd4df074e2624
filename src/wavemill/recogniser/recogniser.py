"""A trained recogniser for evaluations: sounds in; names, confidences and an embedding out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.keras_seam import keras
from wavemill.recogniser.listening import Listening

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class RecogniserRecord:
    """The contents of `recogniser.json`."""

    name: str
    listening: Listening
    labels: Mapping[str, Sequence[str]]  # the values of each kind of label, in the order of the network's outputs
    temperatures: Mapping[str, float]  # divide each kind's logits, to calibrate confidences
    training: Mapping[str, Any]
    quality: Mapping[str, Any]
    code_version: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The recogniser's answers for some sounds.

    Attributes
    ----------
    probabilities : float32 [shape=(batch, values)] by kind of label; rows sum to 1
    embedding : float32 [shape=(batch, 64)], >= 0
    labels : the value of each column of `probabilities`, by kind of label
    """

    probabilities: Mapping[str, FloatArray]
    embedding: FloatArray
    labels: Mapping[str, Sequence[str]]

    def names(self, kind: str) -> list[str]:
        """Return the likeliest value of each sound."""
        return [self.labels[kind][i] for i in self.probabilities[kind].argmax(axis=1)]

    def confidence(self, kind: str) -> FloatArray:
        """Return the confidence in each of `names`, float32 [shape=(batch,)], in (0, 1]."""
        return np.asarray(self.probabilities[kind].max(axis=1), np.float32)

    def accuracy(self, kind: str, truth: Sequence[str]) -> float:
        """Return the share of sounds whose likeliest value is the true one."""
        return float(np.mean([name == true for name, true in zip(self.names(kind), truth, strict=True)]))


class Recogniser:
    """A network with its record. Built by `wavemill.recogniser.package.load_recogniser`."""

    def __init__(self, record: RecogniserRecord, network: keras.Model, *, digest: str) -> None:
        self.record, self.network, self.digest = record, network, digest

    @property
    def listening(self) -> Listening:
        """The parameters of its pictures."""
        return self.record.listening

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """The values that the recogniser knows, by kind of label."""
        return self.record.labels

    def pictures(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Return the log-mel pictures of sounds; see `Listening.pictures`."""
        return self.record.listening.pictures(signals, sample_rate_hz)

    def hear(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> Heard:
        """Recognise sounds, each float32 [shape=(samples,)], at any rate."""
        return self.recognise(self.pictures(signals, sample_rate_hz))

    def recognise(self, pictures: FloatArray) -> Heard:
        """Recognise the results of `pictures`."""
        outputs = run(self.network, pictures)
        probabilities = {
            kind: softmax(outputs[kind] / np.float32(self.record.temperatures[kind])) for kind in self.labels
        }
        return Heard(probabilities=probabilities, embedding=outputs["embedding"], labels=self.labels)


def run(network: keras.Model, pictures: FloatArray) -> dict[str, FloatArray]:
    """Return every output of the network for (B, n_bands, n_frames), B > 0."""
    parts = [
        network(pictures[first : first + _BATCH, ..., None], training=False)
        for first in range(0, len(pictures), _BATCH)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def softmax(logits: FloatArray) -> FloatArray:
    """Return the probabilities of logits, (B, values) -> (B, values)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
