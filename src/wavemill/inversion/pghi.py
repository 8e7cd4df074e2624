"""Phase gradient heap integration, with a bucket queue in the heap's place."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wavemill.inversion.kernel import kernel
from wavemill.inversion.phases import scattered_turns
from wavemill.inversion.stft import FloatArray

# Width of the Gaussian nearest to a Hann window of N samples, exp(-pi t^2 / gamma), is 0.25645 N^2 (table 1
# of the source). Recordings agree: at 0.23 and at 0.29 they sound worse.
HANN_GAMMA = 0.25645
# Bins further than this under the clip's maximum get scattered phases. 50 to 120 dB sound the same, and less
# is faster.
RANGE_DB = 70.0
# So do bins within this of the clip's lowest level: the flat floor of a range-limited spectrogram has no
# gradients, and integration lines it up into clicks (at 50 dB, five times as loud; PESQ 3.5 instead of 3.8)
FLAT_DB = 1.0
# ...but not in a clip that is flat altogether, like an impulse.
LEAST_RANGE_DB = 20.0
# Levels further than this under the maximum count as this: the logarithm of 0 has no slope, and data sets are
# limited to such a range anyway.
DEPTH_DB = 80.0
# Bins whose levels differ by less than a bucket are visited in any order; 1 to 10 sound the same.
BUCKETS_PER_DB = 4

IntArray = npt.NDArray[np.int32]
UNKNOWN = 9.0  # turns; known phases are within half a turn of 0

_TURN = 2 * math.pi
_LOG_PER_DB = math.log(10) / 20


def integrate_phase(magnitude: FloatArray, *, n_fft: int, hop_length: int) -> FloatArray:
    """Estimate the phases of one clip's STFT from the gradients of its log magnitude [1]_.

    For a Gaussian window the phase's derivative along one axis is the log magnitude's along the other.
    Starting at the loudest bin, the derivatives are summed up along the loudest way.

    Parameters
    ----------
    magnitude : float32 [shape=(T, F), >= 0, at least one positive]
        Linear amplitude of a Hann-window STFT.
    n_fft, hop_length : int, in samples

    Returns
    -------
    float32 [shape=(T, F)]
        Phases in turns, librosa's convention (origin at a frame's first sample).

    References
    ----------
    .. [1] Prusa, Balazs, Sondergaard, "A noniterative method for reconstruction of phase from STFT
       magnitude", IEEE/ACM Transactions on Audio, Speech, and Language Processing 25(5), 2017.
    """
    T, F = magnitude.shape
    shape = (T + 2, F + 2)  # with a border, so that every bin has four neighbours
    log = np.log(np.maximum(magnitude, magnitude.max() * 10 ** (-DEPTH_DB / 20)))
    level = np.full(shape, -1, np.int32)
    _quantise(log, np.float32(_floor(magnitude, log)), np.float32(BUCKETS_PER_DB / _LOG_PER_DB), level)
    gamma = HANN_GAMMA * n_fft**2
    along_time, along_rows = hop_length * n_fft / gamma / _TURN, -gamma / (hop_length * n_fft) / _TURN
    advance = (np.arange(F) * hop_length % n_fft / n_fft).astype(np.float32)  # of a tone amid each row
    steps = np.zeros((2, *shape), np.float32)
    _gradients(log, advance, np.float32(along_time), np.float32(along_rows), steps)
    phase = np.full(shape, UNKNOWN, np.float32)
    _spread(level.ravel(), steps.reshape(2, -1), F + 2, phase.ravel())
    turns = scattered_turns((T, F)).copy()
    _collect(phase, turns)
    return turns


def _floor(magnitude: FloatArray, log: FloatArray) -> float:
    """Return the log magnitude under which phases are scattered."""
    top = float(log.max())
    lowest = float(np.where(magnitude > 0, log, top).min())  # a dropped row, restored as zeros, is no floor
    flat = min(lowest + FLAT_DB * _LOG_PER_DB, top - LEAST_RANGE_DB * _LOG_PER_DB)
    return max(top - RANGE_DB * _LOG_PER_DB, flat)


@kernel
def _quantise(log: FloatArray, floor: np.float32, buckets_per_unit: np.float32, level: IntArray) -> None:
    """Write the bucket of each bin (T, F) at or above the floor into the bordered `level`."""
    T, F = log.shape
    for t in range(T):
        inside, source = level[t + 1, 1:], log[t]
        for f in range(F):
            if source[f] >= floor:
                inside[f] = np.int32((source[f] - floor) * buckets_per_unit)


@kernel
def _gradients(
    log: FloatArray, advance: FloatArray, along_time: np.float32, along_rows: np.float32, steps: FloatArray
) -> None:
    """Write the phase's steps, in turns, from central differences of `log` (T, F).

    `steps` is bordered; 0 is from frame to frame, 1 from row to row. The magnitude is even around 0 Hz and
    the Nyquist frequency: its slope there is 0.
    """
    T, F = log.shape
    for t in range(T):
        step, here = steps[0, t + 1, 1:], log[t]
        step[0], step[F - 1] = advance[0], advance[F - 1]
        for f in range(1, F - 1):
            step[f] = advance[f] + np.float32(0.5) * along_time * (here[f + 1] - here[f - 1])
        step, before, after = steps[1, t + 1, 1:], log[max(t - 1, 0)], log[min(t + 1, T - 1)]
        scale = along_rows * np.float32(0.5 if 0 < t < T - 1 else 1.0)
        for f in range(F):
            step[f] = scale * (after[f] - before[f])


@kernel
def _spread(level: IntArray, steps: FloatArray, width: int, phase: FloatArray) -> None:
    """Sum the steps up from the loudest bin of each connected region, along the loudest way.

    All arrays are flat, with rows of `width` and a border. `level` is a bin's bucket, and -1 once its phase
    is known or if it is not wanted. A bucket is a stack linked through an array: every bin is in a stack of
    seeds, and enters a stack of fronts once, when its phase becomes known.
    """
    n_buckets = level.max() + 1
    seed_top, seed_next = np.full(n_buckets, -1, np.int32), np.empty(level.size, np.int32)
    front_top, front_next = np.full(n_buckets, -1, np.int32), np.empty(level.size, np.int32)
    for i in np.flatnonzero(level >= 0):
        seed_next[i] = seed_top[level[i]]
        seed_top[level[i]] = i
    for bucket in range(n_buckets - 1, -1, -1):
        seed = seed_top[bucket]
        while seed >= 0:
            if level[seed] >= 0:
                phase[seed] = 0.0
                level[seed] = -1
                front_next[seed] = -1
                front_top[bucket] = seed
                _drain(bucket, front_top, front_next, level, steps, width, phase)
            seed = seed_next[seed]


@kernel
def _drain(
    bucket: int,
    front_top: IntArray,
    front_next: IntArray,
    level: IntArray,
    steps: FloatArray,
    width: int,
    phase: FloatArray,
) -> None:
    """Pass phases on from the fronts, loudest first, until none is left; `bucket` is the loudest front's."""
    while bucket >= 0:
        here = front_top[bucket]
        if here < 0:
            bucket -= 1
            continue
        front_top[bucket] = front_next[here]
        for side in range(4):  # next frame, previous frame, next row, previous row
            axis, ahead = side >> 1, 1 - 2 * (side & 1)
            there = here + ahead * (width if axis == 0 else 1)
            found = level[there]
            if found >= 0:
                value = phase[here] + np.float32(0.5 * ahead) * (steps[axis, here] + steps[axis, there])
                phase[there] = value - np.floor(value + np.float32(0.5))
                level[there] = -1
                front_next[there] = front_top[found]
                front_top[found] = there
                bucket = max(bucket, found)


@kernel
def _collect(phase: FloatArray, turns: FloatArray) -> None:
    """Copy what is known out of the border, and move the origin from the window's centre to its start."""
    T, F = turns.shape
    for t in range(T):
        source, target = phase[t + 1, 1:], turns[t]
        for f in range(F):
            if source[f] != UNKNOWN:
                target[f] = source[f] + np.float32(0.5) * np.float32(f % 2)
