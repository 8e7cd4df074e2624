"""Phase gradient heap integration, with a bucket queue instead of a heap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.kernel import inlined, kernel
from wavemill.inversion.phases import TURN, UNKNOWN, PhaseArray, scattered
from wavemill.inversion.stft import Stft

# The Gaussian exp(-pi t^2 / gamma) closest to a Hann window of N samples has gamma = 0.25645 N^2
# (table 1 of the source). Recordings confirm it: with 0.23 and with 0.29 they sound worse.
HANN_GAMMA = 0.25645
# Bins further than this below the clip's maximum get scattered phases. 50 to 120 dB sound the same;
# a smaller range is faster.
RANGE_DB = 55.0
# Levels are limited to this far below the maximum, because the logarithm of 0 has no slope.
# Datasets are limited to such a range anyway.
DEPTH_DB = 80.0
# Bins in one bucket are visited in any order; 1 to 10 buckets per dB sound the same.
BUCKETS_PER_DB = 1
N_BUCKETS = int(RANGE_DB * BUCKETS_PER_DB) + 2

_LOG_PER_DB = math.log(10) / 20

# A record holds a bin's data for integration, four numbers next to each other in one cache line:
# its bucket (replaced by a link once its phase is known), its phase, and the phase steps to the
# next frame and to the next row.
_BUCKET, _PHASE, _TO_FRAME, _TO_ROW, _SIZE = 0, 1, 2, 3, 4
_UNWANTED = -1  # bucket of a bin that integration skips; so is any negative one
IntArray = npt.NDArray[np.int32]


def integrate(
    stft: Stft, magnitude: FloatArray, *, n_rows: int, peak: float, floor: float, known: PhaseArray
) -> PhaseArray:
    """Estimate the phases of one clip's STFT from the gradients of its log magnitude [1]_.

    For a Gaussian window, the phase's derivative along one axis equals the log magnitude's
    derivative along the other, up to factors. Starting at the loudest bin, the derivatives are
    summed from bin to bin, loudest bins first.

    Parameters
    ----------
    magnitude : float32 [shape=(F * P), >= 0]
        Linear amplitude of a Hann-window STFT.
    n_rows : int > 0
        Rows to integrate; the rows above are empty.
    peak, floor : float > 0
        The highest magnitude, and the magnitude up to which phases are scattered. A flat floor has
        no gradients, so integration would align its phases into clicks (with a floor at 50 dB, five
        times as loud; PESQ 3.5 instead of 3.8).
    known : int32 [shape=(n_rows, K), K may be 0]
        Phases of the first K frames, from which integration goes on, or UNKNOWN.

    Returns
    -------
    int32 [shape=(n_rows * P)]
        Phases in 2**-24 turns, librosa's convention (origin at a frame's first sample).

    References
    ----------
    .. [1] Prusa, Balazs, Sondergaard, "A noniterative method for reconstruction of phase from STFT
       magnitude", IEEE/ACM Transactions on Audio, Speech, and Language Processing 25(5), 2017.
    """
    lowest = max(math.log(floor), math.log(peak) - RANGE_DB * _LOG_PER_DB)
    phases = np.empty(n_rows * stft.n_lanes, np.int32)
    _integrate(
        stft,
        magnitude,
        scattered(stft.n_rows, stft.n_lanes).ravel(),
        np.float32(peak * 10 ** (-DEPTH_DB / 20)),
        np.float32(lowest),
        known,
        phases,
    )
    return phases


@kernel
def _integrate(
    stft: Stft,
    magnitude: FloatArray,
    start: PhaseArray,
    least: np.float32,
    floor: np.float32,
    known: PhaseArray,
    phases: PhaseArray,
) -> None:
    lanes, T = stft.n_lanes, stft.n_frames
    F = phases.size // lanes
    width = T + 1  # with a border column, so that every bin has four neighbours
    log = np.empty((F, T + 2), np.float32)
    _take_logs(magnitude, lanes, least, log)
    records = np.empty((F + 2) * width * _SIZE, np.int32)
    buckets = np.full((F + 2) * width, _UNWANTED, np.int32)  # a contiguous copy of the records' buckets
    _fill(stft, log, start, floor, records, buckets)
    _go_on(records, width, known)
    _spread(records, width, _seeds(buckets, width))
    for f in range(F):
        row, source = phases[f * lanes :][:lanes], records[(f + 1) * width * _SIZE :][: width * _SIZE]
        row[T:] = 0
        for t in range(T):
            row[t] = source[_SIZE * t + _PHASE]


@inlined
def _take_logs(magnitude: FloatArray, lanes: int, least: np.float32, log: FloatArray) -> None:
    """Write natural logarithms, accurate to 1e-6; repeat the first and the last frame at the ends.

    A number is 2**exponent * (1 + x) with x from -0.3 to 0.41. The logarithm of 1 + x is the
    polynomial of the Cephes library.
    """
    F, T = log.shape[0], log.shape[1] - 2
    number, exponent = np.empty(T, np.float32), np.empty(T, np.float32)
    bits = number.view(np.int32)
    for f in range(F):
        source, target = magnitude[f * lanes :][:T], log[f, 1:]
        for t in range(T):
            number[t] = source[t] if source[t] > least else least
        for t in range(T):
            power = np.int32(np.int32(bits[t] - np.int32(0x3F3504F3)) >> 23)
            exponent[t] = np.float32(power)
            bits[t] = np.int32(bits[t] - np.int32(power << 23))
        for t in range(T):
            x = number[t] - np.float32(1)
            p = np.float32(7.0376836292e-2) * x - np.float32(1.1514610310e-1)
            p = p * x + np.float32(1.1676998740e-1)
            p = p * x - np.float32(1.2420140846e-1)
            p = p * x + np.float32(1.4249322787e-1)
            p = p * x - np.float32(1.6668057665e-1)
            p = p * x + np.float32(2.0000714765e-1)
            p = p * x - np.float32(2.4999993993e-1)
            p = p * x + np.float32(3.3333331174e-1)
            target[t] = exponent[t] * np.float32(math.log(2)) + x - np.float32(0.5) * x * x + p * x * x * x
        log[f, 0], log[f, T + 1] = log[f, 1], log[f, T]


@inlined
def _fill(
    stft: Stft, log: FloatArray, start: PhaseArray, floor: np.float32, records: IntArray, buckets: IntArray
) -> None:
    """Write the records from central differences of `log` (F, T + 2).

    The magnitude is symmetric around 0 Hz and the Nyquist frequency, so its slope there is 0.
    """
    F, T = log.shape[0], log.shape[1] - 2
    width, lanes = T + 1, stft.n_lanes
    gamma, grid = HANN_GAMMA * stft.n_fft**2, stft.hop_length * stft.n_fft
    along_time = np.float32(TURN / 2 * grid / gamma / (2 * math.pi))
    along_rows = np.float32(-TURN / 4 * gamma / grid / (2 * math.pi))
    per_log = np.float32(BUCKETS_PER_DB / _LOG_PER_DB)
    records[: width * _SIZE] = _UNWANTED
    records[(F + 1) * width * _SIZE :] = _UNWANTED
    to_frame, to_row = np.empty(width, np.float32), np.empty(T, np.float32)
    for f in range(F):
        here, below, above = log[f], log[max(f - 1, 0)], log[min(f + 1, F - 1)]
        bucket = buckets[(f + 1) * width :][:T]
        slope = along_time if 0 < f < F - 1 else np.float32(0)
        for t in range(T):
            to_frame[t] = slope * (above[t + 1] - below[t + 1])
        to_frame[T] = to_frame[T - 1]
        for t in range(T):
            to_row[t] = along_rows * ((here[t + 2] - here[t]) + (above[t + 2] - above[t]))
            bucket[t] = np.int32((here[t + 1] - floor) * per_log) if here[t + 1] > floor else np.int32(_UNWANTED)
        to_row[0], to_row[T - 1] = 2 * to_row[0], 2 * to_row[T - 1]  # one-sided differences
        advance = np.int32(f * stft.hop_length % stft.n_fft * TURN // stft.n_fft)  # for a tone at the row's centre
        record, scatter = records[(f + 1) * width * _SIZE :][: width * _SIZE], start[f * lanes :][:T]
        for t in range(T):
            record[_SIZE * t + _BUCKET] = bucket[t]
            record[_SIZE * t + _PHASE] = scatter[t]
            record[_SIZE * t + _TO_FRAME] = advance + np.int32(np.float32(0.5) * (to_frame[t] + to_frame[t + 1]))
            # Half a turn more, because the origin is the window's start and not its centre.
            record[_SIZE * t + _TO_ROW] = np.int32(TURN // 2) + np.int32(to_row[t])
        record[_SIZE * T :] = _UNWANTED


@inlined
def _seeds(buckets: IntArray, width: int) -> IntArray:
    """Return the local maxima, loudest first; they include the loudest bin of each region."""
    inside = buckets.size - width
    is_top = np.zeros(buckets.size // 8 * 8 + 8, np.uint8)
    here, flags = buckets[width:inside], is_top[width:]
    left, right, below, above = buckets[width - 1 :], buckets[width + 1 :], buckets[:inside], buckets[2 * width :]
    for i in range(here.size):
        level = here[i]
        flags[i] = (level >= 0) & (level >= left[i]) & (level > right[i]) & (level >= below[i]) & (level > above[i])
    found, n_found = np.empty(buckets.size, np.int32), 0
    starts = np.zeros(N_BUCKETS + 1, np.int32)
    eights = is_top.view(np.uint64)
    for eight in range(eights.size):
        if eights[eight] == 0:  # the usual case: none of the eight is a maximum
            continue
        for i in range(8 * eight, 8 * eight + 8):
            if is_top[i]:
                found[n_found] = i
                n_found += 1
                starts[N_BUCKETS - buckets[i]] += 1
    total = np.int32(0)
    for k in range(N_BUCKETS + 1):
        count = starts[k]
        starts[k] = total
        total += count
    ordered = np.empty(n_found, np.int32)
    for k in range(n_found):
        place = N_BUCKETS - buckets[found[k]]
        ordered[starts[place]] = found[k]
        starts[place] += 1
    return ordered


@inlined
def _go_on(records: IntArray, width: int, known: PhaseArray) -> None:
    """Sum the phase steps from all bins with known phases on, loudest bins first."""
    tops = np.full(N_BUCKETS, -1, np.int32)
    for f in range(known.shape[0]):
        for t in range(known.shape[1]):
            if known[f, t] != UNKNOWN:
                i = (f + 1) * width + t
                bucket = records[_SIZE * i + _BUCKET]
                records[_SIZE * i + _PHASE] = known[f, t]
                if bucket >= 0:
                    records[_SIZE * i + _BUCKET] = -2 - tops[bucket]
                    tops[bucket] = i
    _drain(records, width, tops, N_BUCKETS - 1)


@inlined
def _spread(records: IntArray, width: int, seeds: IntArray) -> None:
    """Sum the phase steps from the loudest bin of each connected region on, loudest bins first.

    A bucket is a stack of bins whose phases are known but whose neighbours' phases may not be. The
    link to the next bin of the stack is stored as -2 - link in place of the bin's own bucket.
    """
    tops = np.full(N_BUCKETS, -1, np.int32)
    for seed in seeds:
        bucket = records[_SIZE * seed + _BUCKET]
        if bucket < 0:
            continue
        records[_SIZE * seed + _BUCKET] = -1
        records[_SIZE * seed + _PHASE] = (seed // width + 1) % 2 * (TURN // 2)
        tops[bucket] = seed
        _drain(records, width, tops, bucket)


@inlined
def _drain(records: IntArray, width: int, tops: IntArray, bucket: int) -> None:
    """Pass phases on to neighbours, loudest bins first, until all buckets up to `bucket` are empty."""
    while bucket >= 0:
        i = tops[bucket]
        if i < 0:
            bucket -= 1
            continue
        here = _SIZE * i
        tops[bucket] = -2 - records[here + _BUCKET]
        phase = records[here + _PHASE]
        there = here + _SIZE
        if records[there] >= 0:
            bucket = _reach(records, tops, bucket, there, phase + records[here + _TO_FRAME])
        there = here - _SIZE
        if records[there] >= 0:
            bucket = _reach(records, tops, bucket, there, phase - records[there + _TO_FRAME])
        there = here + _SIZE * width
        if records[there] >= 0:
            bucket = _reach(records, tops, bucket, there, phase + records[here + _TO_ROW])
        there = here - _SIZE * width
        if records[there] >= 0:
            bucket = _reach(records, tops, bucket, there, phase - records[there + _TO_ROW])


@inlined
def _reach(records: IntArray, tops: IntArray, bucket: int, there: int, phase: Any) -> Any:
    """Store a bin's phase, push the bin onto its stack, and return the loudest non-empty bucket."""
    found = records[there]
    records[there + _PHASE] = phase
    records[there + _BUCKET] = -2 - tops[found]
    tops[found] = there // _SIZE
    return max(bucket, found)
