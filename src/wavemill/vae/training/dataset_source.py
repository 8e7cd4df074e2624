"""Read a dataset for training: a small one is kept in memory, a large one read in every epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.audio.windows import Windows
from wavemill.dataset.decibels import read_db
from wavemill.dataset.extents import is_huge
from wavemill.dataset.huge_reader import open_huge
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import UsageError
from wavemill.labels import Labels
from wavemill.presets import Features

logger = logging.getLogger(__name__)


CACHE_BYTES = 512 * 2**20
_PAGE_SIZE = 1_000


class DatasetSource:
    """The frames of a dataset, numbered in the order of their IDs; silent spectrograms are left out.

    A spectrogram that is longer than a frame gives several, see `wavemill.audio.windows`.

    Raises
    ------
    UsageError
        When the dataset holds no sound.
    """

    def __init__(self, dataset: Dataset, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._dataset = dataset
        self._items = [(entry, start) for entry in audible_entries(dataset) for start in self._windows(entry).starts]
        if not self._items:
            raise UsageError(f"{dataset.path} holds no spectrogram with sound; there is nothing to train on")
        n_bytes = len(self._items) * int(np.prod(dataset.features.shape)) * 4
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
        return [entry.labels for entry, _ in self._items]

    @property
    def ids(self) -> Sequence[str]:
        """The ID of the spectrogram that each frame belongs to."""
        return [entry.spectrogram_id for entry, _ in self._items]

    @property
    def recordings(self) -> Sequence[int]:
        """The number of the recording that each frame is from; of the spectrogram, if all are from one recording."""
        sources = self._dataset.sources(list(dict.fromkeys(self.ids)))
        of_frames = [sources.get(name, name) for name in self.ids]
        groups = of_frames if len(set(of_frames)) > 1 else self.ids
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        return [numbers[group] for group in groups]

    def read_db(self, indices: NDArray[np.int64]) -> FloatArray:
        """Return frames in dB, float32 [shape=(len(indices), n_bins, n_frames)]."""
        return np.stack([self._read(int(i)) for i in indices])

    def _read(self, i: int) -> FloatArray:
        if self._cache is not None and i in self._cache:
            return self._cache[i]
        db = self._read_frame(*self._items[i])
        if self._cache is not None:
            self._cache[i] = db
        return db

    def _read_frame(self, entry: Entry, start: int) -> FloatArray:
        windows = self._windows(entry)
        if is_huge(self._dataset.shape_of(entry)):
            with open_huge(self._dataset, entry) as huge:
                return huge.read_db(start, start + windows.size)
        return np.ascontiguousarray(windows.cut_one(read_db(self._dataset, entry), start))

    def _windows(self, entry: Entry) -> Windows:
        return Windows(n_frames=self._dataset.shape_of(entry)[1], size=self._dataset.features.n_frames)


def audible_entries(dataset: Dataset) -> Iterator[Entry]:
    """Yield the entries with sound in the order of their IDs, without those with damaged rows."""
    every_id, n_damaged = dataset.ids(), 0
    while ids := list(islice(every_id, _PAGE_SIZE)):
        found = dataset.get_many(ids)
        n_damaged += len(ids) - len(found)
        yield from (found[name] for name in ids if name in found and found[name].max_db > found[name].min_db)
    if n_damaged:
        logger.warning("%s: %d damaged rows of its index are left out", dataset.path, n_damaged)
