"""Measures how close a model's reconstructions come to its input."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.audio.features import to_magnitude
from wavemill.inversion import invert
from wavemill.inversion.kernel import kernel
from wavemill.presets import Features
from wavemill.vae.model import Model
from wavemill.vae.training.batches import SpectrogramSource

TOP_DB = 50.0
# Held-out items to measure, at most, spread evenly. Enough for two significant digits; inversion
# and STOI take half a minute.
MOST_ITEMS = 300
# Name and shares of the quantiles of the distances, in a record's `quality`. What is farther than most
# held-out items is far for this model.
QUANTILES = "log_spectral_distance_quantiles_db"
SHARES = (0.5, 0.9, 0.99)
LEAST_STOI_S = 0.5  # of a sound with its repeats
_LEAST_PYSTOI_S = 0.04  # pystoi raises an error for less than one of its frames
_TOO_SHORT_SCORE = 1e-5  # pystoi's, when too little is left without pauses
REPEATS = 3  # STOI compares segments of 0.384 s; half of all spoken digits are shorter than two of them


def measure(model: Model, source: SpectrogramSource, indices: NDArray[np.int64]) -> dict[str, Any]:
    """Return a model's quality figures on spectrograms it was not trained on, in a record's form.

    STOI is left out where pystoi is not installed.
    """
    # Items are sorted by ID, so the first ones would all have one label.
    spread = np.linspace(0, len(indices) - 1, min(len(indices), MOST_ITEMS)).round().astype(int)
    db = source.read_db(indices[spread])
    every_label = source.labels
    reconstructed, _ = model.reconstruct(db, labels=[every_label[i] for i in indices[spread]])
    distances = log_spectral_distance(db, reconstructed)
    figures: dict[str, Any] = {
        "held_out_spectrograms": len(db),
        "log_spectral_distance_db": float(distances.mean()),
        QUANTILES: {f"{share:g}": round(float(np.quantile(distances, share)), 3) for share in SHARES},
    }
    score = mean_stoi(sound(db, model.features), sound(reconstructed, model.features), model.features.sample_rate_hz)
    if score is not None:
        figures["stoi_against_inverted_original"] = score
    figures["how"] = (
        "Measured on held-out spectrograms, decoded from the latent mean. Log-spectral distance: original and "
        f"reconstruction are limited to {TOP_DB:.0f} dB below the original's peak; root mean square over bins, mean "
        "over frames with sound. STOI: original and reconstruction are inverted, and each clip is repeated "
        f"{REPEATS} times because short clips do not fill one analysis segment."
    )
    return figures


def log_spectral_distance(reference_db: FloatArray, db: FloatArray, *, top_db: float = TOP_DB) -> FloatArray:
    """Return the distance between spectrograms, where the reference is loud.

    Parameters
    ----------
    reference_db, db : float32 [shape=(batch, n_bins, n_frames)], in dB
    top_db : float > 0
        Both are limited to this range below the reference's peak. Frames in which the reference is
        then silent are ignored.

    Returns
    -------
    float32 [shape=(batch,)], in dB
        Root mean square over bins, mean over frames; 0 for a silent reference.
    """
    floors = reference_db.max(axis=(1, 2)) - np.float32(top_db)
    pairs = zip(reference_db, db, floors, strict=True)
    return np.array([_distance(np.ascontiguousarray(a), np.ascontiguousarray(b), f) for a, b, f in pairs], np.float32)


@kernel
def _distance(reference: FloatArray, other: FloatArray, floor: np.float32) -> float:
    n_bins, n_frames = reference.shape
    squares, loudest = np.zeros(n_frames, np.float32), np.full(n_frames, floor, np.float32)
    for f in range(n_bins):
        expected, found = reference[f], other[f]
        for t in range(n_frames):
            apart = max(expected[t], floor) - max(found[t], floor)
            squares[t] += apart * apart
            loudest[t] = max(loudest[t], expected[t])
    heard = loudest > floor
    return float(np.sqrt(squares[heard] / np.float32(n_bins)).sum() / max(heard.sum(), 1))


def sound(db: FloatArray, features: Features) -> FloatArray:
    """Invert spectrograms in dB, (B, F, T) -> (B, samples)."""
    magnitude = to_magnitude(db, features)
    return invert(magnitude, n_fft=features.n_fft, hop_length=features.hop_length, length=features.n_samples)


def mean_stoi(reference: FloatArray, other: FloatArray, sample_rate_hz: int) -> float | None:
    """Return the mean short-time objective intelligibility of (B, samples).

    It is None without pystoi, and for sounds that are too short for it.
    """
    if reference.shape[1] * REPEATS < LEAST_STOI_S * sample_rate_hz:
        return None
    scores = stoi_scores(reference, other, sample_rate_hz)
    if scores is None or not (is_measured := np.isfinite(scores)).any():
        return None
    return float(scores[is_measured].mean())


def stoi_scores(
    reference: Sequence[FloatArray] | FloatArray, other: Sequence[FloatArray] | FloatArray, sample_rate_hz: int
) -> FloatArray | None:
    """Return the short-time objective intelligibility of each sound, (B,), or None without pystoi.

    NaN for a sound that is too short for it when its pauses are left out.

    Parameters
    ----------
    reference, other : B arrays of float32 [shape=(samples,)], in pairs of the same length
    """
    try:
        from pystoi import stoi  # type: ignore[import-untyped]  # it publishes no types
    except ModuleNotFoundError:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not enough STFT frames", RuntimeWarning)
        scores = np.array(
            [
                stoi(np.tile(clean, REPEATS), np.tile(test, REPEATS), sample_rate_hz)
                if clean.size * REPEATS >= _LEAST_PYSTOI_S * sample_rate_hz
                else np.nan
                for clean, test in zip(reference, other, strict=True)
            ],
            np.float32,
        )
    scores[scores == np.float32(_TOO_SHORT_SCORE)] = np.nan  # a silent `other` scores 0
    return scores
