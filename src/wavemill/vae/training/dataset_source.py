"""Read a dataset for training: a small one is kept in memory, a large one read in every epoch.

A spectrogram that is longer than the frame of the features is read as several frames, a shorter one
is padded with its floor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.dataset.decibels import read_db
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import UsageError
from wavemill.labels import Labels
from wavemill.presets import Features

logger = logging.getLogger(__name__)


CACHE_BYTES = 512 * 2**20
_PAGE_SIZE = 1_000


class DatasetSource:
    """The frames of a dataset's spectrograms, in the order of their IDs; silent spectrograms are left out.

    Raises
    ------
    UsageError
        When the dataset holds no sound.
    """

    def __init__(self, dataset: Dataset, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._dataset = dataset
        entries = list(audible_entries(dataset))
        if not entries:
            raise UsageError(f"{dataset.path} holds no spectrogram with sound; there is nothing to train on")
        size = dataset.features.n_frames
        frames = [(number, start) for number, one in enumerate(entries) for start in _starts(dataset, one, size)]
        self._entries = [entries[number] for number, _ in frames]
        self._starts = [start for _, start in frames]
        self.recordings = np.array([number for number, _ in frames])
        n_bytes = len(frames) * int(np.prod(dataset.features.shape)) * 4
        self._cache: dict[int, FloatArray] | None = {} if n_bytes <= cache_bytes else None

    @property
    def name(self) -> str:
        """The name of the dataset's folder, for records."""
        return self._dataset.path.resolve().name

    @property
    def features(self) -> Features:
        """The parameters that the spectrograms were made with."""
        return self._dataset.features

    @property
    def labels(self) -> Sequence[Labels]:
        """The labels of each frame."""
        return [entry.labels for entry in self._entries]

    @property
    def ids(self) -> Sequence[str]:
        """The ID of the spectrogram that each frame belongs to."""
        return [entry.spectrogram_id for entry in self._entries]

    def read_db(self, indices: NDArray[np.int64]) -> FloatArray:
        """Return spectrograms in dB, float32 [shape=(len(indices), n_bins, n_frames)]."""
        return np.stack([self._read(int(i)) for i in indices])

    def _read(self, i: int) -> FloatArray:
        if self._cache is not None and i in self._cache:
            return self._cache[i]
        db = read_db(self._dataset, self._entries[i])
        frame = _frame(db, self._starts[i], self.features.n_frames)
        if self._cache is not None:
            self._cache[i] = frame
        return frame


def _starts(dataset: Dataset, entry: Entry, size: int) -> list[int]:
    """Return where each frame of a spectrogram starts: evenly, with both ends."""
    beyond = dataset.shape_of(entry)[1] - size
    if beyond <= 0:
        return [0]
    count = 1 + ceil(beyond / size)
    return [round(number * beyond / (count - 1)) for number in range(count)]


def _frame(db: FloatArray, start: int, size: int) -> FloatArray:
    """Return a frame of `size` from a spectrogram, (F, T) -> (F, size)."""
    missing = size - db.shape[1]
    if missing > 0:
        return np.pad(db, ((0, 0), (0, missing)), constant_values=db.min())
    return np.ascontiguousarray(db[:, start : start + size])


def audible_entries(dataset: Dataset) -> Iterator[Entry]:
    """Yield the entries with sound in the order of their IDs, without those with damaged rows."""
    every_id, n_damaged = dataset.ids(), 0
    while ids := list(islice(every_id, _PAGE_SIZE)):
        found = dataset.get_many(ids)
        n_damaged += len(ids) - len(found)
        yield from (found[name] for name in ids if name in found and found[name].max_db > found[name].min_db)
    if n_damaged:
        logger.warning("%s: %d damaged rows of its index are left out", dataset.path, n_damaged)
