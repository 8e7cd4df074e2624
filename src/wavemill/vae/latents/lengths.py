"""How long the training material sounds, by label: for samples that would not end by themselves.

A decoder that was trained for minutes often leaves noise behind a sound, within 40 dB of its peak
up to the frame's end. A sample then takes a length that was learnt (docs/why.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError
from wavemill.files.bounded_json import parse_json
from wavemill.labels import Labels

LEAST_ITEMS = 8  # of a label's value, to have lengths of its own
_MOST_VALUES = 256
_QUANTILES = np.linspace(0, 1, 21)
_STREAM = 1 << 64  # the same seeds below it draw the latents
_PREFIX = "lengths/"


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Quantiles of lengths: of all items, and of those that have one label's value.

    Attributes
    ----------
    quantiles : float32 [shape=(1 + values, 21), in seconds, sorted]
        The first row is that of all items.
    label : the category that says most about the length; empty if none says anything
    values : of `label`, one for each further row
    """

    quantiles: FloatArray
    label: str = ""
    values: Sequence[str] = ()

    @classmethod
    def fit(cls, durations_s: FloatArray, labels: Sequence[Labels]) -> Self:
        """Fit to the lengths (N,) and labels of a training set."""
        told = {
            key: _members(key, labels) for key in sorted({key for item in labels for key in item})
        }  # label -> value -> items
        label = max(told, key=lambda key: _explained(durations_s, told[key]), default="")
        groups = told.get(label, {})
        rows = [durations_s, *(durations_s[members] for members in groups.values())]
        quantiles = np.stack([np.quantile(row, _QUANTILES) for row in rows]).astype(np.float32)
        return cls(quantiles=quantiles, label=label if groups else "", values=tuple(groups))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self | None:
        """Build it from what `arrays` returned; None when `arrays` holds no lengths."""
        if _PREFIX + "quantiles" not in arrays:
            return None
        try:
            about = parse_json(arrays[_PREFIX + "about"].astype(np.uint8).tobytes())
            lengths = cls(quantiles=arrays[_PREFIX + "quantiles"], label=about["label"], values=about["values"])
            lengths._require_consistent()
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as exc:
            raise ModelError(
                f"the model's lengths of samples cannot be read: {exc}; restore the model or train it again"
            ) from exc
        return lengths

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, for a model's `latents.npz`."""
        about = json.dumps({"label": self.label, "values": list(self.values)}).encode()
        return {_PREFIX + "quantiles": self.quantiles, _PREFIX + "about": np.frombuffer(about, np.uint8)}

    def ending(
        self, sounding_s: FloatArray, labels: Sequence[Labels], seeds: Sequence[int], *, frame_s: float
    ) -> FloatArray:
        """Return the length of each sample, (B,); each depends on its own seed.

        A sample that ends by itself keeps its length. One that sounds up to its frame's end, or
        longer than all material of its label, gets a length that is drawn.
        """
        ends = sounding_s.copy()
        for number, (own, seed) in enumerate(zip(labels, seeds, strict=True)):
            row = self.quantiles[self._row(own)]
            if sounding_s[number] >= min(np.float32(frame_s), row[-1]):
                rng = np.random.Generator(np.random.Philox(key=_STREAM + seed))
                ends[number] = min(sounding_s[number], np.interp(rng.uniform(), _QUANTILES, row))
        return ends

    def _row(self, labels: Labels) -> int:
        value = labels.get(self.label)
        return 1 + self.values.index(value) if isinstance(value, str) and value in self.values else 0

    def _require_consistent(self) -> None:
        expected = (1 + len(self.values), len(_QUANTILES))
        if self.quantiles.shape != expected or not isinstance(self.label, str):
            raise ValueError(f"expected quantiles of shape {expected}, received {self.quantiles.shape}")
        if not (np.isfinite(self.quantiles).all() and (self.quantiles > 0).all()):
            raise ValueError("it holds lengths that are no positive numbers")


def _members(key: str, labels: Sequence[Labels]) -> dict[str, list[int]]:
    """Return the items of each text that a label has, of those that enough items have."""
    members: dict[str, list[int]] = {}
    for number, item in enumerate(labels):
        if isinstance(value := item.get(key), str):
            members.setdefault(value, []).append(number)
    if len(members) > _MOST_VALUES:
        return {}
    return {value: members[value] for value in sorted(members) if len(members[value]) >= LEAST_ITEMS}


def _explained(durations_s: FloatArray, groups: Mapping[str, Sequence[int]]) -> float:
    """Return how far the groups' means are from the mean of all, summed over their items."""
    mean = durations_s.mean()
    return float(sum(len(own) * (durations_s[own].mean() - mean) ** 2 for own in groups.values()))
