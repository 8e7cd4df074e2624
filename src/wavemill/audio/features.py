"""Spectrograms: waveform -> dB -> the [0, 1] that a dataset stores, and back to linear magnitudes.

Networks take another scale: see `wavemill.vae.network.scaling`.
"""

from __future__ import annotations

from functools import lru_cache

import librosa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavemill.arrays import FloatArray
from wavemill.audio.mel import mel_bank
from wavemill.presets import Features

_LEAST_AMPLITUDE = 1e-5  # the level of digital silence, -100 dB; librosa's default


def pad_or_cut(signal: FloatArray, n_samples: int) -> FloatArray:
    """Return the first `n_samples` samples of `signal`, padded with zeros on the right.

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

    The steps are a centred STFT with a Hann window, its magnitude, the first `n_bins` rows
    (`stft-db`) or `n_bins` mel bands (`log-mel`), and decibels, limited to `range_db` below the
    loudest bin. The numbers are those of `librosa.stft`, `librosa.filters.mel` with each filter's
    weights summing to 1, and `librosa.amplitude_to_db`.

    Parameters
    ----------
    signal : float32 [shape=(samples,)]
        As returned by `pad_or_cut`.
    features : Features

    Returns
    -------
    float32 [shape=(n_bins, 1 + samples // hop_length)], in dB, >= -100
    """
    spectrum = librosa.stft(signal, n_fft=features.n_fft, hop_length=features.hop_length, center=True)
    return to_db(bands_of(spectrum, features), range_db=features.range_db)


def bands_of(spectrum: NDArray[np.complex64], features: Features) -> FloatArray:
    """Return the magnitudes of an STFT's rows or bands, complex (n_fft // 2 + 1, T) -> float32 (F, T)."""
    if features.kind == "log-mel":
        return mel_bank(features).bands(np.abs(spectrum))
    return np.asarray(np.abs(spectrum[: features.n_bins]), dtype=np.float32)


@lru_cache(maxsize=8)
def rows_of_bins(features: Features) -> FloatArray:
    """Return how many rows of the STFT each bin stands for, float32 [shape=(n_bins,)]."""
    if features.kind == "log-mel":
        return mel_bank(features).rows_of_bands()
    return np.ones(features.n_bins, np.float32)


def to_db(magnitude: FloatArray, *, range_db: float | None = None) -> FloatArray:
    """Return magnitudes in dB re 1.0, limited to `range_db` below the loudest."""
    decibels = librosa.amplitude_to_db(magnitude, ref=1.0, amin=_LEAST_AMPLITUDE, top_db=range_db)
    return np.asarray(decibels, dtype=np.float32)


def normalise(db: FloatArray) -> tuple[FloatArray, float, float]:
    """Scale one spectrogram to the [0, 1] that a dataset stores, by its own minimum and maximum.

    Parameters
    ----------
    db : float32 [shape=(n_bins, n_frames)], finite

    Returns
    -------
    x : float32 [shape=(n_bins, n_frames)], in [0, 1]
        All zeros if the spectrogram is constant, like that of a silent clip; never NaN.
    min_db, max_db : float
        The arguments of `denormalise`.
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
    """Turn decibels into the linear amplitude of an STFT.

    `stft-db`: the rows that `extract` dropped are restored as zeros. Bins at a clip's floor stay at
    the floor, since they are quiet, not empty, and phase retrieval works badly with zeros among
    them. `log-mel`: see `MelBank.magnitudes`; clips are computed one by one, so that a clip's bytes
    do not depend on the others.

    Parameters
    ----------
    db : float32 [shape=(..., n_bins, n_frames)], in dB re 1.0

    Returns
    -------
    float32 [shape=(..., n_fft // 2 + 1, n_frames)], >= 0
    """
    *leading, n_bins, n_frames = db.shape
    magnitude = np.zeros((*leading, features.n_fft // 2 + 1, n_frames), dtype=np.float32)
    if features.kind == "log-mel":
        bank = mel_bank(features)
        for clip in np.ndindex(*leading):
            magnitude[clip] = bank.magnitudes(_to_amplitude(db[clip], out=np.empty(db.shape[-2:], np.float32)))
    else:
        _to_amplitude(db, out=magnitude[..., :n_bins, :])
    return magnitude


def _to_amplitude(db: FloatArray, *, out: FloatArray) -> FloatArray:
    # exp takes a third of the time of 10 ** x
    return np.exp(np.multiply(db, np.float32(np.log(10) / 20), out=out), out=out)
