"""Estimate how long the sound in a spectrogram lasts, from the spectrogram alone."""

from __future__ import annotations

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.presets import Features

# Below the peak. In 2,700 recordings, the part after the last frame that is this loud lasts 0
# frames in the median, and 12 or more in one recording of 20.
QUIET_DB = 40.0
MARGIN_FRAMES = 2  # a window extends beyond its frame


def sounding_s(db: FloatArray, features: Features) -> FloatArray:
    """Return where the sound in each spectrogram ends.

    Parameters
    ----------
    db : float32 [shape=(batch, n_bins, n_frames)], in dB

    Returns
    -------
    float32 [shape=(batch,)], in seconds
        The end of the last frame within `QUIET_DB` of the peak, with a small margin.
    """
    loudest = db.max(axis=1)  # (B, F, T) -> (B, T)
    heard = loudest > loudest.max(axis=1, keepdims=True) - np.float32(QUIET_DB)
    n_frames = features.n_frames - np.argmax(heard[:, ::-1], axis=1) + MARGIN_FRAMES  # (B, T) -> (B,)
    n_samples = np.minimum(n_frames * features.hop_length, features.n_samples)
    return np.asarray(n_samples / features.sample_rate_hz, np.float32)
