"""Read a dataset's spectrograms in decibels."""

from __future__ import annotations

from wavemill.arrays import FloatArray
from wavemill.audio.features import denormalise
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset, Entry


def read_db(dataset: Dataset, entry: Entry) -> FloatArray:
    """Read one spectrogram in dB re 1.0, float32 [shape=(n_bins, n_frames)]; raises as `read_spectrogram`."""
    return denormalise(read_spectrogram(dataset, entry), entry.min_db, entry.max_db)
