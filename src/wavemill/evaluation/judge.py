"""Judge sounds made from the held-out recordings, by recognition and by distance from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.evaluation.fidelity import fidelity
from wavemill.evaluation.likeness import Likeness
from wavemill.evaluation.plain_ear import Ear
from wavemill.evaluation.pocketsphinx import hear_digits
from wavemill.labels import Labels, LabelValue
from wavemill.presets import Features

PESQ = "pesq"
DIGIT = "digit"  # the kind of label that PocketSphinx recognises


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """One version of all held-out clips (the truth, an inversion or a model's), with its scores.

    Attributes
    ----------
    sounds : one float32 [shape=(samples,)] per clip, at the judged rate
    scores : float32 [shape=(clips,)] by measure; empty for the truth
    heard : the value that the recogniser hears in each clip, by kind of label
    confidence : float32 [shape=(clips,)], the confidence in these answers, by kind of label
    figures : means over the clips; for a model, also the figures of its latents and samples
    """

    name: str
    sounds: Sequence[FloatArray]
    scores: Mapping[str, FloatArray]
    heard: Mapping[str, Sequence[str]]
    confidence: Mapping[str, FloatArray]
    figures: dict[str, Any]


def text_of(value: LabelValue | None) -> str | None:
    """Return a label's value as recognisers name it; None for none."""
    return None if value is None else str(value)


def mean_of_known(values: FloatArray) -> float | None:
    """Return the mean of the scores that are not NaN; None if all are, because JSON has no NaN."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


class Judge:
    """Judge versions of the clips against the truth, with a recogniser or a `PlainEar`.

    Parameters
    ----------
    truth : sequence of float32 [shape=(samples,)], at the judged rate
    labels : the labels of each clip
    judged : the features that sounds are judged in
    """

    def __init__(
        self, recogniser: Ear, truth: Sequence[FloatArray], labels: Sequence[Labels], judged: Features
    ) -> None:
        self.recogniser, self.truth, self.labels, self.judged = recogniser, truth, labels, judged
        self._likeness = Likeness(truth, judged)

    @property
    def kinds(self) -> list[str]:
        """The kinds of label that the recogniser knows and the clips have."""
        return [kind for kind in self.recogniser.labels if any(kind in labels for labels in self.labels)]

    def judge_truth(self, name: str) -> Rendition:
        """Judge the truth itself, by recognition only."""
        return self._judge(name, self.truth, {})

    def judge(self, name: str, sounds: Sequence[FloatArray]) -> Rendition:
        """Judge sounds, one per clip, by recognition and against the truth."""
        return self._judge(name, sounds, {**fidelity(self.truth, sounds, self.judged), **self._likeness.of(sounds)})

    def _judge(self, name: str, sounds: Sequence[FloatArray], scores: Mapping[str, FloatArray]) -> Rendition:
        heard = self.recogniser.hear(sounds, self.judged.sample_rate_hz)
        names = {kind: heard.names(kind) for kind in self.kinds}
        figures: dict[str, Any] = {measure: mean_of_known(values) for measure, values in scores.items()}
        if PESQ in scores:
            figures["pesq_clips"] = int(np.isfinite(scores[PESQ]).sum())
        figures |= {f"{kind}_accuracy": self._accuracy(kind, names[kind]) for kind in self.kinds}
        if DIGIT in self.kinds and (digits := hear_digits(sounds, self.judged.sample_rate_hz)) is not None:
            figures["pocketsphinx_digit_accuracy"] = self._accuracy(DIGIT, digits)
        return Rendition(
            name=name,
            sounds=sounds,
            scores=scores,
            heard=names,
            confidence={kind: heard.confidence(kind) for kind in self.kinds},
            figures=figures,
        )

    def _accuracy(self, kind: str, names: Sequence[str | None]) -> float | None:
        """Return the share of right answers among clips with a known label; None without any."""
        known = self.recogniser.labels[kind]
        pairs = [(name, text_of(labels.get(kind))) for name, labels in zip(names, self.labels, strict=True)]
        asked = [name == true for name, true in pairs if true in known]
        return float(np.mean(asked)) if asked else None
