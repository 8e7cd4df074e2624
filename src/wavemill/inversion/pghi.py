"""Phase gradient heap integration, with a bucket queue in the heap's place."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wavemill.inversion.kernel import kernel
from wavemill.inversion.phases import scattered_turns
from wavemill.inversion.stft import FloatArray

# Width of the Gaussian nearest to a Hann window of N samples, exp(-pi t^2 / gamma): gamma = 0.25645 N^2. [1], table 1.
HANN_GAMMA = 0.25645
# Bins further than this under the clip's maximum get scattered phases: their gradients are rounding, and on the flat
# floor of a range-limited spectrogram integration would line them up into clicks.
TOLERANCE_DB = 79.0
# Bins whose levels differ by less are visited in any order.
BUCKETS_PER_DB = 4

IntArray = npt.NDArray[np.int32]
UNKNOWN = 9.0  # turns; known phases are within half a turn of 0

_TURN = 2 * math.pi
_LOG_PER_DB = math.log(10) / 20


def integrate_phase(magnitude: FloatArray, *, n_fft: int, hop_length: int) -> FloatArray:
    """Estimate the phases of one clip's STFT from the gradients of its log magnitude [1]_.

    For a Gaussian window the phase's derivative along one axis is the log magnitude's along the other. Starting at
    the loudest bin, the derivatives are summed up along the loudest way.

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
    .. [1] Prusa, Balazs, Sondergaard, "A noniterative method for reconstruction of phase from STFT magnitude",
       IEEE/ACM Transactions on Audio, Speech, and Language Processing 25(5), 2017.
    """
    shape = (
        magnitude.shape[0] + 2,
        magnitude.shape[1] + 2,
    )  # with a border, so that every bin has four neighbours
    tiny = np.finfo(np.float32).tiny
    log = np.log(np.maximum(magnitude, tiny))
    floor = max(float(log.max()) - TOLERANCE_DB * _LOG_PER_DB, math.log(tiny) + 1e-3)
    level = np.full(shape, -1, np.int32)
    _quantise(log, np.float32(floor), np.float32(BUCKETS_PER_DB / _LOG_PER_DB), level)
    gamma = HANN_GAMMA * n_fft**2
    along_time, along_rows = hop_length * n_fft / gamma / _TURN, -gamma / (hop_length * n_fft) / _TURN
    per_frame, per_row = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    advance = ((np.arange(shape[1] - 2) * hop_length) % n_fft / n_fft).astype(np.float32)
    _gradients(log, advance, np.float32(along_time), np.float32(along_rows), per_frame, per_row)
    phase = np.full(shape, UNKNOWN, np.float32)
    _spread(level.ravel(), per_frame.ravel(), per_row.ravel(), shape[1], phase.ravel())
    turns = scattered_turns((magnitude.shape[0], magnitude.shape[1])).copy()
    _collect(phase, turns)
    return turns


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
    log: FloatArray,
    advance: FloatArray,
    along_time: np.float32,
    along_rows: np.float32,
    per_frame: FloatArray,
    per_row: FloatArray,
) -> None:
    """Write the phase's steps per frame and per row, in turns, from central differences of `log` (T, F).

    The steps are bordered. The magnitude is even around 0 Hz and the Nyquist frequency: its slope there is 0.
    """
    T, F = log.shape
    for t in range(T):
        steps, here = per_frame[t + 1, 1:], log[t]
        steps[0], steps[F - 1] = advance[0], advance[F - 1]
        for f in range(1, F - 1):
            steps[f] = advance[f] + np.float32(0.5) * along_time * (here[f + 1] - here[f - 1])
        before, after = log[max(t - 1, 0)], log[min(t + 1, T - 1)]
        scale = along_rows * np.float32(0.5 if 0 < t < T - 1 else 1.0)
        steps = per_row[t + 1, 1:]
        for f in range(F):
            steps[f] = scale * (after[f] - before[f])


@kernel
def _collect(phase: FloatArray, turns: FloatArray) -> None:
    """Copy the known phases out of the border, from the window's centre (the theory's origin) to a frame's start."""
    T, F = turns.shape
    for t in range(T):
        source, target = phase[t + 1, 1:], turns[t]
        for f in range(F):
            if source[f] != UNKNOWN:
                target[f] = source[f] + np.float32(0.5) * np.float32(f % 2)


@kernel
def _spread(
    level: IntArray,
    per_frame: FloatArray,
    per_row: FloatArray,
    width: int,
    phase: FloatArray,
) -> None:
    """Sum the steps up from the loudest bin of each connected region, along the loudest way.

    All arrays are flat, with rows of `width` and a border. `level` is a bin's bucket, and -1 once its phase is known
    or if it is not wanted. A bucket is a stack linked through an array: every bin is in a stack of seeds, and enters
    a stack of fronts once, when its phase becomes known.
    """
    n_buckets = level.max() + 1
    seed_top, seed_next = np.full(n_buckets, -1, np.int32), np.empty(level.size, np.int32)
    front_top, front_next = np.full(n_buckets, -1, np.int32), np.empty(level.size, np.int32)
    for i in range(level.size):
        if level[i] >= 0:
            seed_next[i] = seed_top[level[i]]
            seed_top[level[i]] = i
    for seed_bucket in range(n_buckets - 1, -1, -1):
        seed = seed_top[seed_bucket]
        while seed >= 0:
            bucket = level[seed]
            if bucket >= 0:
                level[seed] = -1
                phase[seed] = 0.0
                front_next[seed] = -1
                front_top[bucket] = seed
            while bucket >= 0:
                here = front_top[bucket]
                if here < 0:
                    bucket -= 1
                    continue
                front_top[bucket] = front_next[here]
                for side in range(4):
                    steps = per_frame if side < 2 else per_row
                    ahead = 1 - 2 * (side % 2)
                    there = here + ahead * (width if side < 2 else 1)
                    found = level[there]
                    if found >= 0:
                        value = phase[here] + np.float32(0.5 * ahead) * (steps[here] + steps[there])
                        phase[there] = value - np.floor(value + np.float32(0.5))
                        level[there] = -1
                        front_next[there] = front_top[found]
                        front_top[found] = there
                        bucket = max(bucket, found)
            seed = seed_next[seed]
