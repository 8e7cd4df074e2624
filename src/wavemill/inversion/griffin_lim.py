"""Griffin-Lim iterations: plain ones improve good phases, fast ones find phases from scratch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.fft import STRIDE, put_in_order, put_out_of_order
from wavemill.inversion.fft_plan import LANES
from wavemill.inversion.kernel import inlined, kernel
from wavemill.inversion.lanes import add_mismatch, stretched, with_magnitude
from wavemill.inversion.stft import Stft
from wavemill.inversion.tiles import cut, merge, overlap_add, read_row, split, weigh, write_row


@kernel
def polish(stft: Stft, magnitude: FloatArray, folded: FloatArray, n_iter: int, limit: np.float32) -> None:
    """Improve a folded signal in place by plain Griffin-Lim iterations [1]_; `magnitude` is (F, P).

    Before each iteration, samples are limited to [-limit, limit].

    Each tile is cut, transformed, transformed back and overlap-added while it is in the first-level
    cache; spectra are never stored. No momentum: after phase gradient heap integration it would
    converge further but sound worse (PESQ -0.15).

    References
    ----------
    .. [1] Griffin, Lim, "Signal estimation from modified short-time Fourier transform", 1984.
    """
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile = np.empty(half * STRIDE, np.float32)
    before, after = folded, np.empty_like(folded)
    for _ in range(n_iter):
        _limit(before, limit)
        after[:] = 0
        for lane in range(0, lanes, LANES):
            cut(stft, before, lane, tile)
            put_in_order(tile, stft.radices, stft.half_roots)
            for k in range(half // 2 + 1):
                low, high = split(stft, tile, k)
                low = with_magnitude(low, magnitude, k * lanes + lane)
                high = with_magnitude(high, magnitude, (half - k) * lanes + lane)
                merge(stft, tile, k, low, high)
            put_out_of_order(tile, stft.radices, stft.half_roots)
            overlap_add(stft, tile, lane, after)
        weigh(stft, after)
        before, after = after, before
    if n_iter % 2:
        folded[:] = before


@inlined
def _limit(signal: FloatArray, limit: np.float32) -> None:
    for i in range(signal.size):
        signal[i] = min(max(signal[i], -limit), limit)


@kernel
def polish_once(stft: Stft, magnitude: FloatArray, folded: FloatArray) -> float:
    """Run one iteration of `polish`; return the relative error of the magnitudes before it.

    The error is ||STFT(signal)| - magnitude| / |magnitude|, over bins with a magnitude above 0.
    """
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile, sums = np.empty(half * STRIDE, np.float32), np.zeros(2 * LANES, np.float32)
    before = folded.copy()
    error, energy = 0.0, 0.0
    folded[:] = 0
    for lane in range(0, lanes, LANES):
        cut(stft, before, lane, tile)
        put_in_order(tile, stft.radices, stft.half_roots)
        sums[:] = 0
        for k in range(half // 2 + 1):
            low, high = split(stft, tile, k)
            add_mismatch(sums, low, magnitude, k * lanes + lane)
            if 2 * k < half:  # else both are the same row
                add_mismatch(sums, high, magnitude, (half - k) * lanes + lane)
            low = with_magnitude(low, magnitude, k * lanes + lane)
            high = with_magnitude(high, magnitude, (half - k) * lanes + lane)
            merge(stft, tile, k, low, high)
        put_out_of_order(tile, stft.radices, stft.half_roots)
        overlap_add(stft, tile, lane, folded)
        error += np.float64(sums[:LANES].sum())
        energy += np.float64(sums[LANES:].sum())
    weigh(stft, folded)
    return math.sqrt(error / energy)


@kernel
def project(stft: Stft, magnitude: FloatArray, folded: FloatArray, spectra: FloatArray) -> None:
    """Write spectra (F, 2, P) that have a signal's phases and the magnitudes (F, P)."""
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile = np.empty(half * STRIDE, np.float32)
    for lane in range(0, lanes, LANES):
        cut(stft, folded, lane, tile)
        put_in_order(tile, stft.radices, stft.half_roots)
        for k in range(half // 2 + 1):
            low, high = split(stft, tile, k)
            low = with_magnitude(low, magnitude, k * lanes + lane)
            high = with_magnitude(high, magnitude, (half - k) * lanes + lane)
            write_row(spectra, k, lanes, lane, low)
            write_row(spectra, half - k, lanes, lane, high)


@kernel
def search(
    stft: Stft, magnitude: FloatArray, folded: FloatArray, n_iter: int, momentum: float, limit: np.float32
) -> None:
    """Run fast Griffin-Lim iterations [1]_ on a folded signal in place, as librosa.griffinlim does.

    Before each iteration, samples are limited to [-limit, limit].

    References
    ----------
    .. [1] Perraudin, Balazs, Sondergaard, "A fast Griffin-Lim algorithm", 2013.
    """
    half, lanes = stft.n_fft // 2, stft.n_lanes
    step = np.float32(-momentum / (1 + momentum))
    tile = np.empty(half * STRIDE, np.float32)
    previous = np.zeros(stft.n_rows * 2 * lanes, np.float32)
    before, after = folded, np.empty_like(folded)
    for _ in range(n_iter):
        _limit(before, limit)
        after[:] = 0
        for lane in range(0, lanes, LANES):
            cut(stft, before, lane, tile)
            put_in_order(tile, stft.radices, stft.half_roots)
            for k in range(half // 2 + 1):
                low, high = split(stft, tile, k)
                low = _pushed(low, previous, k, lanes, lane, step)
                high = _pushed(high, previous, half - k, lanes, lane, step) if 2 * k < half else low
                low = with_magnitude(low, magnitude, k * lanes + lane)
                high = with_magnitude(high, magnitude, (half - k) * lanes + lane)
                merge(stft, tile, k, low, high)
            put_out_of_order(tile, stft.radices, stft.half_roots)
            overlap_add(stft, tile, lane, after)
        weigh(stft, after)
        before, after = after, before
    if n_iter % 2:
        folded[:] = before


@inlined
def _pushed(value: Any, previous: FloatArray, k: int, lanes: int, lane: int, step: np.float32) -> Any:
    """Return row k moved away from its value in the previous iteration, and store the new value."""
    last = read_row(previous, k, lanes, lane)
    write_row(previous, k, lanes, lane, value)
    return value + stretched(last, step, step)
