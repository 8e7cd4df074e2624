"""Training batches in a seeded order.

A thread prepares the next batch while the network trains on the current one, so that no more than
two are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.labels import SPLIT, SPLITS, Labels
from wavemill.presets import Features
from wavemill.vae.conditions import Conditions
from wavemill.vae.network.scaling import Scheme, db_to_network
from wavemill.vae.told import Told, told
from wavemill.vae.training.augmentation import augment, moves_for
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.held_out import HeldOut

Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """Normalised float32 (B, F, T, 1), and the conditions of each item; None without conditions."""

    x: FloatArray
    told: Told | None


class SpectrogramSource(Protocol):
    """What training needs from a dataset."""

    @property
    def name(self) -> str:
        """The dataset's name in a model's record."""
        ...

    @property
    def features(self) -> Features:
        """The parameters that the spectrograms were made with."""
        ...

    @property
    def labels(self) -> Sequence[Labels]:
        """One mapping per spectrogram."""
        ...

    @property
    def recordings(self) -> Sequence[int] | Indices:
        """The number of the recording that each spectrogram is from; frames of a long one share it."""
        ...

    def read_db(self, indices: Indices) -> FloatArray:
        """Return spectrograms in dB, float32 [shape=(len(indices), n_bins, n_frames)]."""
        ...


def seeded_rng(*key: int) -> np.random.Generator:
    """Return a generator that is determined by `key` alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def split(
    labels: Sequence[Labels], config: TrainingConfig, recordings: Sequence[int] | Indices | None = None
) -> tuple[Indices, Indices]:
    """Return the indices to train on and those held out, each sorted.

    Without a `validation_label`, items with a `split` label are divided by it: `train` is trained
    on, `validation` is held out, all others are in neither. If there is no `validation`, a fraction
    is held out of the rest. `recordings` are the numbers of the recordings that items are from; a
    fraction holds out whole recordings.

    Raises
    ------
    UsageError
        When either would be empty.
    """
    everything = np.arange(len(labels))
    if config.validation_label is not None:
        rule = HeldOut.parse(config.validation_label)
        held_out = np.array([item in rule for item in labels], dtype=bool)
    else:
        parts = np.array([str(item.get(SPLIT, SPLITS[0])) for item in labels])
        everything = everything[np.isin(parts, SPLITS[:2])]
        if not everything.size:
            raise UsageError(
                f"expected spectrograms with split=train to train on, received none, but split={parts[0]}; mend the "
                "table and build the dataset again, or choose with --validation-label KEY=A,B"
            )
        held_out = parts[everything] == SPLITS[1]
        if not held_out.any():
            own = np.asarray(recordings)[everything] if recordings is not None else everything
            numbers = np.unique(own)
            n_held_out = max(1, round(len(numbers) * config.validation_fraction))
            held_out = np.isin(own, numbers[seeded_rng(config.seed, 0).permutation(len(numbers))[:n_held_out]])
    if not held_out.any() or held_out.all():
        raise UsageError(
            f"of {len(labels)} spectrograms {int(held_out.sum())} would be held out for validation by "
            f"{config.validation_label or config.validation_fraction}; expected at least one and not all: change the "
            "fraction or the label"
        )
    return everything[~held_out], everything[held_out]


class Batches:
    """The training batches of any epoch.

    They depend only on the seed and the epoch's number, so that training can be resumed.
    """

    def __init__(
        self,
        source: SpectrogramSource,
        indices: Indices,
        scheme: Scheme,
        config: TrainingConfig,
        *,
        added: Indices | None = None,
        conditions: Conditions = (),
    ) -> None:
        self._told = told(conditions, source.labels) if conditions else None
        colour = config.colour_db / scheme.get("range_db", source.features.range_db)
        self._moves = moves_for(source.labels, colour)
        self._source, self._indices, self._scheme, self._config = source, indices, scheme, config
        self._added = np.arange(0) if added is None else added
        share = config.added_share if len(self._added) else 0.0
        self.n_added = round(len(indices) * share / (1 - share))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches per epoch, at least one; a remainder that fills no batch is left out."""
        return max(1, (len(self._indices) + self.n_added) // self._config.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield batches, shuffled and augmented by this epoch's own seed."""
        rng = seeded_rng(self._config.seed, 1, number)
        chosen = self._indices
        if self.n_added:  # each epoch draws its own selection of the added spectrograms
            added = rng.choice(self._added, self.n_added, replace=self.n_added > len(self._added))
            chosen = np.concatenate([chosen, added])
        order = rng.permutation(chosen)

        def make(step: int) -> Batch:
            size = self._config.batch_size
            chosen = order[step * size : (step + 1) * size]
            x = db_to_network(self._source.read_db(chosen), self._scheme)
            if self._config.augment:
                x = augment(x, seeded_rng(self._config.seed, 2, number, step), self._moves)
            return Batch(x[..., None], self._told and self._told.take(chosen))  # (B, F, T) -> (B, F, T, 1)

        yield from _one_ahead(make, self.steps_per_epoch)


def in_order(source: SpectrogramSource, indices: Indices, scheme: Scheme, size: int) -> Iterator[FloatArray]:
    """Yield normalised float32 (at most `size`, F, T, 1), not augmented, in the given order."""
    for first in range(0, len(indices), size):
        yield db_to_network(source.read_db(indices[first : first + size]), scheme)[..., None]


def _one_ahead(make: Callable[[int], Batch], count: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        waiting = pool.submit(make, 0)
        for step in range(count):
            batch = waiting.result()
            if step + 1 < count:
                waiting = pool.submit(make, step + 1)
            yield batch
