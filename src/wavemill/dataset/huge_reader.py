"""Reads spectrograms that are too large for memory, in blocks of frames."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.dataset.arrays import REBUILD, reading_errors
from wavemill.dataset.headers import DTYPE, npy_header
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import SilentSpectrogramError, SpectrogramError

_BLOCK_BYTES = 2**22


class HugeReader:
    """An opened spectrogram; made by `open_huge`."""

    def __init__(self, dataset: Dataset, entry: Entry, descriptor: int) -> None:
        self.n_bins, self.n_frames = dataset.shape_of(entry)
        self._entry = entry
        self._descriptor = descriptor
        self._header = npy_header((self.n_bins, self.n_frames), fortran_order=True)

    def read_db(self, first: int, last: int) -> FloatArray:
        """Return the frames from `first` to before `last` in dB, float32 [shape=(n_bins, last - first)]."""
        frame_bytes = self.n_bins * DTYPE.itemsize
        with reading_errors(self._entry):
            data = os.pread(self._descriptor, (last - first) * frame_bytes, len(self._header) + first * frame_bytes)
        if len(data) < (last - first) * frame_bytes:
            raise SpectrogramError(f"{self._entry.spectrogram_id}: its file is truncated; {REBUILD}")
        least, greatest = np.float32(self._entry.min_db), np.float32(self._entry.max_db)
        x: FloatArray = np.frombuffer(data, DTYPE).reshape(last - first, self.n_bins)
        return np.ascontiguousarray((x * (greatest - least) + least).T)  # (T, F) -> (F, T)

    def check(self) -> None:
        """Raise SpectrogramError unless the file is the one that was built; reads all of it."""
        name, digest, position = self._entry.spectrogram_id, hashlib.sha256(), 0
        with reading_errors(self._entry):
            if os.pread(self._descriptor, len(self._header), 0) != self._header:
                shape = (self.n_bins, self.n_frames)
                raise SpectrogramError(f"{name}: expected float32 of shape {shape}, received something else; {REBUILD}")
            while data := os.pread(self._descriptor, _BLOCK_BYTES, position):
                digest.update(data)
                position += len(data)
        if position != len(self._header) + math.prod((self.n_bins, self.n_frames)) * DTYPE.itemsize:
            raise SpectrogramError(f"{name}: its file is truncated or overwritten; {REBUILD}")
        if digest.hexdigest() != self._entry.sha256:
            raise SpectrogramError(f"{name}: its file has changed since the dataset was built; {REBUILD}")
        if self._entry.min_db == self._entry.max_db:
            raise SilentSpectrogramError(f"{name}: expected sound, received silence; leave this recording out")


@contextmanager
def open_huge(dataset: Dataset, entry: Entry) -> Iterator[HugeReader]:
    """Open the file of a huge spectrogram.

    Raises
    ------
    UnknownSpectrogramError, SpectrogramError, StorageUnavailableError
        As `wavemill.dataset.arrays.read_spectrogram`.
    """
    with ExitStack() as stack:
        with reading_errors(entry):
            descriptor = stack.enter_context(dataset.files.opened(entry.file))
        yield HugeReader(dataset, entry, descriptor)
