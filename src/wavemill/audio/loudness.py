"""Measures the loudness of a sound, and finds the gain that gives it another one.

Loudness is integrated and gated as in ITU-R BS.1770-4 [1]_, by pyloudnorm. Its gate needs 0.4 s, so
a shorter sound is measured as if silence followed it: half as long, it is 3 LU softer. Below -70
LUFS everything is silence, which no gain makes louder.

The true peak is the greatest sample of the sound at four times its rate. The gain stops where the
true peak would pass -1 dBTP; nothing is compressed.

References
----------
.. [1] ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio level", 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import soxr

from wavemill.arrays import FloatArray

HIGHEST_TRUE_PEAK_DBTP = -1.0
_GATE_S = 0.4
_OVERSAMPLING = 4
_SOFTEST_DB = -120.0


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """What was measured of a sound whose loudness was set.

    Attributes
    ----------
    gain : factor for every sample
    before_lufs, after_lufs : without and with the gain; None for silence
    true_peak_dbtp : with the gain; at least -120
    limited : the true peak stopped the gain short of the loudness that was asked for
    """

    gain: float
    before_lufs: float | None
    after_lufs: float | None
    true_peak_dbtp: float
    limited: bool


def loudness_lufs(signal: FloatArray, sample_rate_hz: int) -> float | None:
    """Return the integrated loudness of float32 [shape=(samples,)]; None for silence.

    Parameters
    ----------
    signal : float32 [shape=(samples,)], samples > 0
        Full scale is 1.0.
    """
    padding = max(math.ceil(_GATE_S * sample_rate_hz) - len(signal), 0)
    value = float(_meter(sample_rate_hz).integrated_loudness(np.pad(signal.astype(np.float64), (0, padding))))
    return value if math.isfinite(value) else None


def true_peak_dbtp(signal: FloatArray, sample_rate_hz: int) -> float:
    """Return the true peak of float32 [shape=(samples,)] in dB re full scale; at least -120."""
    between = soxr.resample(signal, sample_rate_hz, _OVERSAMPLING * sample_rate_hz)
    peak = max(float(np.abs(signal).max()), float(np.abs(between).max(initial=0.0)))
    return max(20 * math.log10(peak), _SOFTEST_DB) if peak > 0 else _SOFTEST_DB


def set_loudness(signal: FloatArray, sample_rate_hz: int, *, lufs: float) -> Loudness:
    """Find the gain that brings a sound to a loudness, or as near as its true peak allows."""
    before, peak_dbtp = loudness_lufs(signal, sample_rate_hz), true_peak_dbtp(signal, sample_rate_hz)
    wanted_db, most_db = 0.0 if before is None else lufs - before, HIGHEST_TRUE_PEAK_DBTP - peak_dbtp
    gain_db = min(wanted_db, most_db)
    gain = 10 ** (gain_db / 20)
    return Loudness(
        gain=gain,
        before_lufs=before,
        after_lufs=loudness_lufs(signal * np.float32(gain), sample_rate_hz),
        true_peak_dbtp=max(peak_dbtp + gain_db, _SOFTEST_DB),
        limited=most_db < wanted_db,
    )


@lru_cache(maxsize=8)
def _meter(sample_rate_hz: int) -> Any:
    import pyloudnorm  # here, because a worker needs it only for batches with a loudness

    return pyloudnorm.Meter(sample_rate_hz)
