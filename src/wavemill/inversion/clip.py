"""Prepare one clip's magnitudes: find their range and rows with sound, lay them out for kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.arguments import checked_values
from wavemill.inversion.kernel import kernel
from wavemill.inversion.phases import PhaseArray
from wavemill.inversion.stft import Stft, stft_for

# Bins up to this far above the clip's lowest level belong to the flat floor of a range-limited
# spectrogram.
FLAT_DB = 1.0
# The floor is at least this far below the peak: a clip that is flat throughout, like an impulse, is
# sound and not floor.
LEAST_RANGE_DB = 20.0

SHORT = 2**16  # numbers of a short clip's spectrogram, at most

# Rows kept free below half the lower sample rate, because a signal has a wider spectrum than its
# frames: the window adds a row, and dividing by the window sum adds a tail that falls by 15 dB in
# two rows.
MARGIN_ROWS = 8

# The bits of the largest float32. As unsigned integers, those of NaN, infinity and negatives are
# larger.
_LARGEST = 0x7F7FFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A clip's magnitudes, divided by a power of two so that they are at most about 1."""

    magnitude: FloatArray  # (F, P) of `work`, flat
    n_rows: int  # rows from this one on are 0
    peak: float
    floor: float
    scale: float  # the power of two
    work: Stft  # for iterations: `full`, or a transform at half its sample rate, a quarter and so on
    full: Stft
    limit: float = math.inf  # peak of the source; infinite if unknown
    is_short: bool = False  # and no block of a longer one
    known: PhaseArray | None = None  # (F, K): phases of the first K frames, where a block before gave them


class Range(NamedTuple):
    """The result of `measure`; `n_rows` is 0 for silence."""

    is_valid: bool  # no value is NaN, infinite or negative; -0.0 counts as negative
    peak: float
    floor: float  # values up to this one are the spectrogram's floor
    n_rows: int  # rows from this one on are at the floor throughout


def read_clip(
    clips: FloatArray,
    index: int,
    *,
    stft: Stft,
    hop_unit: int,
    lower_rate: bool = True,
    number: int | None = None,
    limit: float = math.inf,
) -> Clip | None:
    """Return clip number `index` of a batch (B, F, T), or None if it is silent.

    The hop used for iterations is a multiple of `hop_unit`.

    Raises
    ------
    UsageError
        A value is NaN, infinite or negative.
    """
    values = np.ascontiguousarray(clips[index])  # (F, T)
    found = measure(values)
    if not found.is_valid:
        values = checked_values(values, index if number is None else number)
        found = measure(values)
    if found.peak == 0:
        return None
    # Scaling by a power of two is exact. It keeps squares of very soft or loud clips within
    # float32.
    scale = 2.0 ** min(max(math.frexp(found.peak)[1], -126), 126)
    work = lower_stft(stft, found.n_rows, hop_unit=hop_unit) if lower_rate else stft
    magnitude = np.empty(work.n_rows * work.n_lanes, np.float32)
    _prepare(values, np.float32(1 / scale), found.n_rows, work.n_lanes, magnitude)
    return Clip(
        magnitude=magnitude,
        n_rows=found.n_rows,
        peak=found.peak / scale,
        floor=found.floor / scale,
        scale=scale,
        limit=limit / scale,
        is_short=values.size <= SHORT,
        work=work,
        full=stft,
    )


def lower_stft(full: Stft, n_rows: int, *, hop_unit: int) -> Stft:
    """Return the transform at the lowest sample rate that still has room for `n_rows` rows.

    Its hop is a multiple of `hop_unit`. If the upper rows are empty, half the samples give the same
    rows, and iterations cost half.
    """
    work = full
    while work.n_fft % 4 == 0 and work.hop_length % (2 * hop_unit) == 0 and n_rows + MARGIN_ROWS <= work.n_fft // 4:
        n_samples = -(-work.n_samples // 2)
        work = stft_for(work.n_fft // 2, work.hop_length // 2, work.n_frames, n_samples)
    return work


def measure(clip: FloatArray) -> Range:
    """Return the range of a clip's magnitudes (F, T).

    The highest rows count as empty if none of their bins is more than 1 dB above the clip's lowest
    level. Either limiting the range removed what the recording had there, or the recording had
    nothing there, as a resampled one has nothing above half its original rate.
    """
    is_valid, peak, lowest, row_peaks = _extremes(clip)
    floor = min(lowest * 10 ** (FLAT_DB / 20), peak * 10 ** (-LEAST_RANGE_DB / 20))
    above = np.flatnonzero(row_peaks > floor)
    return Range(is_valid, peak, floor, int(above[-1]) + 1 if above.size else 0)


@kernel
def _extremes(clip: FloatArray) -> tuple[bool, Any, Any, FloatArray]:
    """Return whether the values are valid, the peak, the lowest above 0, and each row's peak.

    Valid values are finite, >= 0 and without a sign. Values are compared by their bits as integers.
    For finite numbers >= 0 the order is the same, and integers need no special case for NaN.
    """
    n_rows, n_frames = clip.shape
    peaks = np.empty(n_rows, np.float32)
    bits, peak_bits = clip.view(np.uint32), peaks.view(np.uint32)
    lowest, highest = np.uint32(0xFFFFFFFF), np.uint32(0)
    for f in range(n_rows):
        row = bits[f]
        top, bottom = np.uint32(0), np.uint32(0xFFFFFFFF)
        for t in range(n_frames):
            top = max(top, row[t])
            bottom = min(bottom, np.uint32(row[t] - np.uint32(1)))  # 0 wraps to the largest integer
        peak_bits[f] = top
        highest, lowest = max(highest, top), min(lowest, bottom)
    found = np.empty(2, np.uint32)
    found[0], found[1] = highest, np.uint32(lowest + np.uint32(1))
    numbers = found.view(np.float32)
    return bool(highest <= _LARGEST), numbers[0], numbers[1], peaks


@kernel
def _prepare(clip: FloatArray, scale: np.float32, n_rows: int, lanes: int, magnitude: FloatArray) -> None:
    """Write the first rows of a clip (F, T), scaled, into flat rows of `lanes`; the rest is 0."""
    for f in range(n_rows):
        source, target = clip[f], magnitude[f * lanes :][:lanes]
        target[source.size :] = 0
        for t in range(source.size):
            target[t] = scale * source[t]
    magnitude[n_rows * lanes :] = 0


@kernel
def with_frames_between(magnitude: FloatArray, n_frames: int, lanes: int, dense: FloatArray, dense_lanes: int) -> None:
    """Write rows of 2 T - 1 frames: the T frames and, between each two, their mean in dB."""
    for f in range(magnitude.size // lanes):
        source, target = magnitude[f * lanes :][:lanes], dense[f * dense_lanes :][:dense_lanes]
        target[2 * n_frames - 1 :] = 0
        for t in range(n_frames):
            target[2 * t] = source[t]
        for t in range(n_frames - 1):
            target[2 * t + 1] = math.sqrt(source[t] * source[t + 1])
