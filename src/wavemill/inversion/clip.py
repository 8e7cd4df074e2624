"""One clip's magnitudes: their range, the rows that hold sound, and the layout that the kernels want."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.arguments import checked_values
from wavemill.inversion.kernel import kernel
from wavemill.inversion.stft import Stft, stft_for

# Bins within this of the clip's lowest level are the flat floor of a range-limited spectrogram.
FLAT_DB = 1.0
# ...but not in a clip that is flat altogether, like an impulse.
LEAST_RANGE_DB = 20.0

# Rows left free under half the lower rate. A signal reaches further than its spectra: the window adds a row, and
# the division by the window sum a tail that falls by 15 dB in two.
MARGIN_ROWS = 8

_LARGEST = 0x7F7FFFFF  # the bits of the largest float32; NaN and infinity have larger ones, negative numbers a sign


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A clip's magnitudes, divided by a power of two to be about 1 at most."""

    magnitude: FloatArray  # (F, P) of `work`, flat
    n_rows: int  # from this one on they are 0
    peak: float
    floor: float
    scale: float  # what they were divided by
    work: Stft  # for iterations: `full`, or that of half its rate, or of a quarter
    full: Stft


class Range(NamedTuple):
    """What `measure` finds; `n_rows` is 0 in silence."""

    is_valid: bool  # neither NaN nor infinity, and no sign anywhere
    peak: float
    floor: float  # what does not exceed this is the spectrogram's floor
    n_rows: int  # rows from this one on are at the floor throughout


def read_clip(
    clips: FloatArray, index: int, *, stft: Stft, hop_unit: int, lower_rate: bool = True, number: int | None = None
) -> Clip | None:
    """Return clip number `index` of a batch (B, F, T), or None if it is silent.

    `hop_unit` divides the hop that is iterated with.

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
    # A power of two changes no digit, and keeps squares of very soft or loud clips within float32.
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
        work=work,
        full=stft,
    )


def lower_stft(full: Stft, n_rows: int, *, hop_unit: int) -> Stft:
    """Return the transform of the lowest rate that holds `n_rows` rows, with a hop that is a multiple of `hop_unit`.

    The same rows come from half the samples if the others hold nothing, and iterations cost half.
    """
    work = full
    while work.n_fft % 4 == 0 and work.hop_length % (2 * hop_unit) == 0 and n_rows + MARGIN_ROWS <= work.n_fft // 4:
        n_samples = -(-work.n_samples // 2)
        work = stft_for(work.n_fft // 2, work.hop_length // 2, work.n_frames, n_samples)
    return work


def measure(clip: FloatArray) -> Range:
    """Return the range of a clip's magnitudes (F, T).

    The highest rows hold nothing if none of their bins is more than 1 dB above the clip's lowest: what the recording
    had there was lost when the range was limited, or never existed, as above half the rate of a resampled one.
    """
    is_valid, peak, lowest, row_peaks = _extremes(clip)
    floor = min(lowest * 10 ** (FLAT_DB / 20), peak * 10 ** (-LEAST_RANGE_DB / 20))
    above = np.flatnonzero(row_peaks > floor)
    return Range(is_valid, peak, floor, int(above[-1]) + 1 if above.size else 0)


@kernel
def _extremes(clip: FloatArray) -> tuple[bool, Any, Any, FloatArray]:
    """Return whether all bits are those of ordinary numbers >= 0, the highest, the lowest above 0, that of each row.

    The bits of such numbers are in the order of the numbers, and maxima of integers need no care for NaN.
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
            bottom = min(bottom, np.uint32(row[t] - np.uint32(1)))  # 0 becomes the largest
        peak_bits[f] = top
        highest, lowest = max(highest, top), min(lowest, bottom)
    found = np.empty(2, np.uint32)
    found[0], found[1] = highest, np.uint32(lowest + np.uint32(1))
    numbers = found.view(np.float32)
    return bool(highest <= _LARGEST), numbers[0], numbers[1], peaks


@kernel
def _prepare(clip: FloatArray, scale: np.float32, n_rows: int, lanes: int, magnitude: FloatArray) -> None:
    """Write the first rows of a clip (F, T), scaled, into flat rows of `lanes`, and zeros elsewhere."""
    for f in range(n_rows):
        source, target = clip[f], magnitude[f * lanes :][:lanes]
        target[source.size :] = 0
        for t in range(source.size):
            target[t] = scale * source[t]
    magnitude[n_rows * lanes :] = 0


@kernel
def with_frames_between(magnitude: FloatArray, n_frames: int, lanes: int, dense: FloatArray, dense_lanes: int) -> None:
    """Write rows of 2 T - 1 frames, those between two being their mean in dB."""
    for f in range(magnitude.size // lanes):
        source, target = magnitude[f * lanes :][:lanes], dense[f * dense_lanes :][:dense_lanes]
        target[2 * n_frames - 1 :] = 0
        for t in range(n_frames):
            target[2 * t] = source[t]
        for t in range(n_frames - 1):
            target[2 * t + 1] = math.sqrt(source[t] * source[t + 1])
