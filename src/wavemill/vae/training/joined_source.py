"""Several datasets as one source of spectrograms: a model's own dataset, and others added to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.feature_options import mismatch
from wavemill.labels import Labels
from wavemill.presets import Features
from wavemill.vae.training.batches import SpectrogramSource


class JoinedSource:
    """The spectrograms of `first`, then those of each of `others`, numbered consecutively.

    Raises
    ------
    UsageError
        When they were not made with the same features.
    """

    def __init__(self, first: SpectrogramSource, others: Sequence[SpectrogramSource]) -> None:
        self._parts = [first, *others]
        for other in others:
            if other.features != first.features:
                raise UsageError(
                    f"{other.name}, an added dataset, does not fit {first.name}: it has "
                    f"{mismatch(first.features, other.features, source=f'{first.name}/dataset.json')}"
                )
        self.labels: Sequence[Labels] = [labels for part in self._parts for labels in part.labels]
        self._starts = np.cumsum([0, *(len(part.labels) for part in self._parts)])

    @property
    def name(self) -> str:
        """The names of all datasets, in order."""
        return ", ".join(part.name for part in self._parts)

    @property
    def features(self) -> Features:
        """The parameters that all the spectrograms were made with."""
        return self._parts[0].features

    @property
    def recordings(self) -> NDArray[np.int64]:
        """The number of the recording that each spectrogram is from, counted over all datasets."""
        firsts = np.cumsum([0, *(int(np.max(part.recordings)) + 1 for part in self._parts)])
        return np.concatenate(
            [np.asarray(part.recordings) + first for part, first in zip(self._parts, firsts, strict=False)]
        )

    @property
    def added(self) -> NDArray[np.int64]:
        """The numbers of the spectrograms that do not come from `first`."""
        return np.arange(self._starts[1], self._starts[-1])

    def read_db(self, indices: NDArray[np.int64]) -> FloatArray:
        """Return spectrograms in dB, float32 [shape=(len(indices), n_bins, n_frames)]."""
        db = np.empty((len(indices), *self.features.shape), np.float32)
        part_of = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(part_of):
            chosen = part_of == number
            db[chosen] = self._parts[number].read_db(indices[chosen] - self._starts[number])
        return db
