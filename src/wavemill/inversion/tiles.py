"""The STFT and its inverse as SIMD kernels: tiles of sixteen frames, cut, transformed and added.

Arrays have the layouts that `wavemill.inversion.stft` describes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.fft import STRIDE, get, put, put_in_order, put_out_of_order
from wavemill.inversion.fft_plan import LANES
from wavemill.inversion.kernel import inlined, kernel
from wavemill.inversion.lanes import accumulate, conjugate, load, quarter_turned, store, stretched, turned
from wavemill.inversion.stft import Stft


@inlined
def cut(stft: Stft, folded: FloatArray, lane: int, tile: FloatArray) -> None:
    """Cut windowed frames, from number `lane` on, out of a signal; the tile is out of order."""
    for place in range(tile.size // STRIDE):
        real, imag = 2 * place, 2 * place + 1
        value = load(folded, stft.offsets[real] + lane, stft.offsets[imag] + lane)
        put(tile, place, stretched(value, stft.taper[real], stft.taper[imag]))


@inlined
def overlap_add(stft: Stft, tile: FloatArray, lane: int, folded: FloatArray) -> None:
    """Add the frames of a tile, out of order and with real and imaginary parts swapped, to a signal."""
    for place in range(tile.size // STRIDE):
        real, imag = 2 * place, 2 * place + 1
        value = load(tile, place * STRIDE + LANES, place * STRIDE)
        value = stretched(value, stft.taper[real], stft.taper[imag])
        accumulate(folded, stft.offsets[real] + lane, stft.offsets[imag] + lane, value)


@inlined
def weigh(stft: Stft, folded: FloatArray) -> None:
    """Divide overlapped frames by the window sum."""
    for i in range(folded.size):
        folded[i] *= stft.weight[i]


@inlined
def split(stft: Stft, tile: FloatArray, k: int) -> tuple[Any, Any]:
    """Return rows k and N // 2 - k of the spectra of real frames.

    The tile holds the transform of length N // 2 of the same samples, taken in pairs as complex
    numbers.
    """
    n = tile.size // STRIDE
    one, other = get(tile, k), conjugate(get(tile, (n - k) % n))
    even, odd = one + other, quarter_turned(turned(one - other, stft.roots[2 * k], stft.roots[2 * k + 1]))
    return even + odd, conjugate(even - odd)


@inlined
def merge(stft: Stft, tile: FloatArray, k: int, low: Any, high: Any) -> None:
    """Reverse `split`, up to a factor of 2, and swap real and imaginary parts.

    The swap makes the forward transform act as the inverse one.
    """
    n = tile.size // STRIDE
    other = conjugate(high)
    even, odd = low + other, quarter_turned(turned(low - other, stft.roots[2 * k], -stft.roots[2 * k + 1]))
    one = even - odd
    store(tile, k * STRIDE + LANES, k * STRIDE, one)
    mirrored = (n - k) % n
    store(tile, mirrored * STRIDE + LANES, mirrored * STRIDE, conjugate(even + odd))


@inlined
def read_row(spectra: FloatArray, k: int, lanes: int, lane: int) -> Any:
    """Return sixteen frames of one row of spectra."""
    return load(spectra, 2 * k * lanes + lane, (2 * k + 1) * lanes + lane)


@inlined
def write_row(spectra: FloatArray, k: int, lanes: int, lane: int, value: Any) -> None:
    """Write sixteen frames of one row of spectra."""
    store(spectra, 2 * k * lanes + lane, (2 * k + 1) * lanes + lane, value)


@kernel
def synthesize(stft: Stft, spectra: FloatArray, folded: FloatArray) -> None:
    """Write the signal whose spectra are closest to `spectra`; it fades out at the clamped end."""
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile = np.empty(half * STRIDE, np.float32)
    folded[:] = 0
    for lane in range(0, lanes, LANES):
        for k in range(half // 2 + 1):
            low, high = read_row(spectra, k, lanes, lane), read_row(spectra, half - k, lanes, lane)
            if k == 0:  # rows 0 and N // 2 of a real signal are real
                low, high = stretched(low, np.float32(1), np.float32(0)), stretched(high, np.float32(1), np.float32(0))
            merge(stft, tile, k, low, high)
        put_out_of_order(tile, stft.radices, stft.half_roots)
        overlap_add(stft, tile, lane, folded)
    weigh(stft, folded)


@kernel
def analyze(stft: Stft, folded: FloatArray, spectra: FloatArray) -> None:
    """Write the spectra of a signal, with zeros in the padding."""
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile = np.empty(half * STRIDE, np.float32)
    for lane in range(0, lanes, LANES):
        cut(stft, folded, lane, tile)
        put_in_order(tile, stft.radices, stft.half_roots)
        for k in range(half // 2 + 1):
            low, high = split(stft, tile, k)
            write_row(spectra, k, lanes, lane, low)
            write_row(spectra, half - k, lanes, lane, high)
    for row in range(2 * stft.n_rows):
        spectra[row * lanes :][stft.n_frames : lanes] = 0
