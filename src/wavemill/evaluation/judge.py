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
from wavemill.labels import Labels
from wavemill.presets import Features
from wavemill.recogniser.heard_values import heard_as

PESQ = "pesq"
PITCH = "pitch_right"
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
    right : whether each answer is right, by kind of label; None where the clip lacks the label
    figures : means over the clips; for a model, also the figures of its latents and samples
    """

    name: str
    sounds: Sequence[FloatArray]
    scores: Mapping[str, FloatArray]
    heard: Mapping[str, Sequence[str]]
    confidence: Mapping[str, FloatArray]
    right: Mapping[str, Sequence[bool | None]]
    figures: dict[str, Any]


def mean_of_known(values: FloatArray) -> float | None:
    """Return the mean of the scores that are not NaN; None if all are, because JSON has no NaN."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


class Judge:
    """Judge versions of the clips against the truth, with a recogniser or a `PlainEar`.

    Parameters
    ----------
    truth : sequence of float32 [shape=(samples,)], at the judged rate
    labels : the labels of each clip; kept as `expected`, what the recogniser should hear of each
    judged : the features that sounds are judged in
    """

    def __init__(
        self, recogniser: Ear, truth: Sequence[FloatArray], labels: Sequence[Labels], judged: Features
    ) -> None:
        self.recogniser, self.truth, self.judged = recogniser, truth, judged
        self.expected: Sequence[Mapping[str, str | None]] = [
            {kind: heard_as(item[kind], names) for kind, names in recogniser.labels.items() if kind in item}
            for item in labels
        ]
        self._likeness = Likeness(truth, judged)

    @property
    def kinds(self) -> list[str]:
        """The kinds of label that the recogniser knows and the clips have."""
        return [kind for kind in self.recogniser.labels if any(kind in expected for expected in self.expected)]

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
        if PITCH in scores:
            figures["pitch_clips"] = int(np.isfinite(scores[PITCH]).sum())
        figures |= {f"{kind}_accuracy": self._accuracy(kind, names[kind]) for kind in self.kinds}
        if DIGIT in self.kinds and (digits := hear_digits(sounds, self.judged.sample_rate_hz)) is not None:
            figures["pocketsphinx_digit_accuracy"] = self._accuracy(DIGIT, digits)
        return Rendition(
            name=name,
            sounds=sounds,
            scores=scores,
            heard=names,
            confidence={kind: heard.confidence(kind) for kind in self.kinds},
            right={kind: self._right(kind, names[kind]) for kind in self.kinds},
            figures=figures,
        )

    def _accuracy(self, kind: str, names: Sequence[str | None]) -> float | None:
        """Return the share of right answers among clips with a known label; None without any."""
        pairs = [(name, expected.get(kind)) for name, expected in zip(names, self.expected, strict=True)]
        asked = [name == true for name, true in pairs if true is not None]
        return float(np.mean(asked)) if asked else None

    def _right(self, kind: str, names: Sequence[str]) -> list[bool | None]:
        pairs = zip(names, self.expected, strict=True)
        return [name == expected[kind] if kind in expected else None for name, expected in pairs]
