"""Finds the clips that a training held out by itself: the part `validation`, or a tenth at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.vae.training.batches import split
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.dataset_source import DatasetSource


@dataclass(frozen=True, kw_only=True)
class OwnPart:
    """The clips that trainings on one dataset held out without a rule; the seed chose them."""

    dataset: str
    seed: int
    fraction: float
    ids: frozenset[str]

    def is_of(self, training: Mapping[str, Any]) -> bool:
        """Return whether a training, of which this is the record, held out these clips."""
        return _chosen_by(training) == (self.dataset, self.seed, self.fraction)

    def __str__(self) -> str:
        return "what training held out"


def own_part(dataset: Dataset, training: Mapping[str, Any]) -> OwnPart | None:
    """Return the part of a dataset that a training on it held out without a rule, from its record.

    None if it was trained on another dataset, or the dataset has changed.
    """
    if (chosen := _chosen_by(training)) is None or chosen[0] != dataset.path.resolve().name:
        return None
    name, seed, fraction = chosen
    source = DatasetSource(dataset)
    try:
        heard, held_out = split(
            source.labels, TrainingConfig(seed=seed, validation_fraction=fraction), source.recordings
        )
    except UsageError:
        return None
    if (len(heard), len(held_out)) != (training.get("spectrograms"), training.get("held_out")):
        return None
    ids = frozenset(source.ids[i] for i in held_out)
    return OwnPart(dataset=name, seed=seed, fraction=fraction, ids=ids)


def _chosen_by(training: Mapping[str, Any]) -> tuple[str, int, float] | None:
    """Return dataset, seed and fraction; None if a rule held clips out, or the record does not say."""
    name, seed, fraction = (training.get(key) for key in ("dataset", "seed", "validation_fraction"))
    if training.get("validation_label") or not isinstance(name, str) or not isinstance(seed, int):
        return None
    return (name, seed, fraction) if isinstance(fraction, float) and 0 < fraction < 1 and seed >= 0 else None
