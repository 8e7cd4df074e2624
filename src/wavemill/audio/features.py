"""Spectrograms: waveform -> dB -> [0, 1], and the way back to linear magnitudes."""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavemill.presets import Features

FloatArray = NDArray[np.float32]

_LEAST_AMPLITUDE = 1e-5  # -100 dB, librosa's own default: what digital silence becomes


def pad_or_cut(signal: FloatArray, n_samples: int) -> FloatArray:
    """Return exactly `n_samples` samples: the start of `signal`, zeros on the right where it is shorter.

    Parameters
    ----------
    signal : float32 [shape=(samples,)]
    n_samples : int > 0

    Returns
    -------
    float32 [shape=(n_samples,)]
    """
    kept = signal[:n_samples]
    return np.pad(kept, (0, n_samples - len(kept)))


def extract(signal: FloatArray, features: Features) -> FloatArray:
    """Compute the spectrogram of a padded recording in dB re 1.0.

    Centred STFT with a Hann window, magnitude, the rows above `n_bins` dropped, then decibels limited to
    `range_db` below the loudest bin: the same numbers as `librosa.stft` and `librosa.amplitude_to_db`.

    Parameters
    ----------
    signal : float32 [shape=(features.n_samples,)]
        As `pad_or_cut` gives it.
    features : Features

    Returns
    -------
    float32 [shape=(n_bins, n_frames)], in dB, >= -100
    """
    spectrum = librosa.stft(signal, n_fft=features.n_fft, hop_length=features.hop_length, center=True)
    magnitude = np.abs(spectrum[: features.n_bins])  # (n_fft // 2 + 1, T) -> (F, T)
    decibels = librosa.amplitude_to_db(magnitude, ref=1.0, amin=_LEAST_AMPLITUDE, top_db=features.range_db)
    return np.asarray(decibels, dtype=np.float32)


def normalise(db: FloatArray) -> tuple[FloatArray, float, float]:
    """Scale one spectrogram to [0, 1] by its own least and greatest value.

    Parameters
    ----------
    db : float32 [shape=(n_bins, n_frames)], finite

    Returns
    -------
    x : float32 [shape=(n_bins, n_frames)], in [0, 1]
        All zeros when the spectrogram is constant, as that of a silent clip is; never NaN.
    min_db, max_db : float
        What `denormalise` needs.
    """
    least, greatest = db.min(), db.max()
    if greatest == least:
        return np.zeros_like(db), float(least), float(greatest)
    return (db - least) / (greatest - least), float(least), float(greatest)


def denormalise(x: FloatArray, min_db: ArrayLike, max_db: ArrayLike) -> FloatArray:
    """Undo `normalise`, for one spectrogram or for a batch.

    Parameters
    ----------
    x : float32 [shape=(..., n_bins, n_frames)]
    min_db, max_db : float or array [shape=(...)], in dB

    Returns
    -------
    float32 [shape=(..., n_bins, n_frames)], in dB
    """
    least = np.asarray(min_db, dtype=np.float32)[..., None, None]  # (B,) -> (B, 1, 1)
    greatest = np.asarray(max_db, dtype=np.float32)[..., None, None]
    return np.asarray(x * (greatest - least) + least, dtype=np.float32)


def to_magnitude(db: FloatArray, features: Features) -> FloatArray:
    """Turn decibels into linear amplitude, with the rows that `extract` dropped restored as zeros.

    Bins at a clip's floor stay at the floor: they are quiet, not empty, and phase retrieval wants no holes.

    Parameters
    ----------
    db : float32 [shape=(..., n_bins, n_frames)], in dB re 1.0

    Returns
    -------
    float32 [shape=(..., n_fft // 2 + 1, n_frames)], >= 0
    """
    *leading, n_bins, n_frames = db.shape
    magnitude = np.zeros((*leading, features.n_fft // 2 + 1, n_frames), dtype=np.float32)
    np.power(np.float32(10.0), db * np.float32(0.05), out=magnitude[..., :n_bins, :])
    return magnitude
