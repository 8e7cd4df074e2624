"""Measures how loud a spectrogram is, and gives another one the same energy.

A network that was trained on decibels outputs the mean where it is unsure, so its loudest bins come
out too soft: over 300 held-out recordings, the root mean square of fsdd-vae was 1.6 dB below the
source's. Raising all bins alike restores the level but makes other bins wrong (log-spectral
distance 3.90 -> 4.22 dB). Raising only the loudest bins, under 3 % of them with 93 % of the energy,
restores it too and hardly changes the distance (3.91 dB). For the present fsdd-vae, the median
boost is 1.8 dB. Its sounds then lie 0.06 dB below the inverted source (standard deviation 0.05, at
most 0.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.kernel import kernel

_RAMP_DB = 20.0  # the peak gets all of the boost, bins this far below it get none
_MOST_DB = 6.0
_STEPS = 8  # of Newton's method, at most; three come within 0.001 dB of the solution
_CLOSE_DB = 1e-5
_NEPER = math.log(10) / 10  # the natural logarithm of the power ratio that is 1 dB


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Levels in dB: loudest bin, lowest bin, and the sum of all powers (None if unknown)."""

    peak_db: float
    floor_db: float
    energy_db: float | None = None

    @classmethod
    def of(cls, spectrogram: FloatArray) -> Self:
        """Measure a spectrogram, float32 [shape=(n_bins, n_frames), in dB]."""
        peak_db = spectrogram.max()
        energy = _energy(spectrogram, peak_db)
        return cls(
            peak_db=float(peak_db),
            floor_db=float(spectrogram.min()),
            energy_db=float(10 * np.log10(energy)) if energy > 0 else None,
        )

    def between(self, other: Self, weight: float) -> Levels:
        """Interpolate to `other`, linearly in dB: weight 0 gives these levels, 1 the other's."""
        known = self.energy_db is not None and other.energy_db is not None
        return Levels(
            peak_db=_between(self.peak_db, other.peak_db, weight),
            floor_db=_between(self.floor_db, other.floor_db, weight),
            energy_db=_between(self.energy_db or 0.0, other.energy_db or 0.0, weight) if known else None,
        )


def restore_energy(spectrogram: FloatArray, levels: Levels) -> tuple[FloatArray, float]:
    """Raise or lower the loudest bins until the sum of all powers is `levels.energy_db`.

    Parameters
    ----------
    spectrogram : float32 [shape=(n_bins, n_frames), in dB]

    Returns
    -------
    float32 [shape=(n_bins, n_frames), in dB]
    boost_db : float
        Gain of the loudest bin, from -6 to 6; bins up to 20 dB below it got proportionally less.
    """
    if levels.energy_db is None:
        return spectrogram, 0.0
    peak_db = spectrogram.max()
    restored = np.array(spectrogram, np.float32, order="C")
    wanted = 10 ** (levels.energy_db / 10)
    return restored, float(_raise_loudest(restored.ravel(), peak_db, wanted - _energy(spectrogram, peak_db)))


@kernel
def _raise_loudest(db: FloatArray, peak_db: np.float32, missing: float) -> float:
    """Raise the loudest bins until the sum of all powers has grown by `missing`; return the boost.

    Solves sum(power * 10 ** (share * boost / 10)) = wanted over these bins, for the boost in dB of
    the loudest one. In dB, the sum is nearly linear in the boost.
    """
    loud = np.flatnonzero(db > peak_db - np.float32(_RAMP_DB))
    share, power = np.empty(loud.size), np.empty(loud.size)
    wanted = missing
    for k in range(loud.size):
        level = np.float64(db[loud[k]])
        share[k] = (level - peak_db) / _RAMP_DB + 1
        power[k] = math.exp(level * _NEPER)
        wanted += power[k]
    boost_db = -_MOST_DB if wanted <= 0 else 0.0
    for _ in range(_STEPS if wanted > 0 else 0):
        total, weighted = 0.0, 0.0
        for k in range(loud.size):
            raised = power[k] * math.exp(share[k] * boost_db * _NEPER)
            total += raised
            weighted += raised * share[k]
        before_db, step_db = boost_db, 10 * math.log10(wanted / total) * total / weighted
        boost_db = min(max(boost_db + step_db, -_MOST_DB), _MOST_DB)
        if abs(boost_db - before_db) < _CLOSE_DB:
            break
    for k in range(loud.size):
        db[loud[k]] += np.float32(share[k] * boost_db)
    return boost_db


def _between(a: float, b: float, weight: float) -> float:
    return a + (b - a) * weight


def _energy(spectrogram: FloatArray, peak_db: np.float32) -> float:
    # Single precision takes a seventh of the time. Relative to the peak, because the power of a
    # high level may exceed float32.
    share = np.exp((spectrogram - peak_db) * np.float32(_NEPER)).sum(dtype=np.float64)
    return float(10 ** (np.float64(peak_db) / 10) * share)
