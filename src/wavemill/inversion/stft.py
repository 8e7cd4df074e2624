"""The centred, zero-padded Hann STFT of one clip, and its least-squares inverse.

Axes: T frames, P frames padded to whole tiles, N = n_fft, F = N // 2 + 1 rows, L samples,
K columns. All arrays of kernels are flat:

- Magnitudes are (F, P) and spectra (F, 2, P), real parts before imaginary ones, with zeros in the
  padding. The phase convention is librosa's: the transform's origin is the frame's first sample.
- A signal is folded, (hop_length, K), with consecutive samples down each column. The samples at one
  place of consecutive frames, a hop apart, are then neighbours in a row, so that sixteen frames can
  be cut out or added at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.fft import (
    STRIDE,
    IntArray,
    get,
    places_for,
    put,
    put_in_order,
    put_out_of_order,
    radices_for,
    roots_for,
)
from wavemill.inversion.kernel import inlined, kernel
from wavemill.inversion.lanes import LANES, accumulate, conjugate, load, quarter_turned, store, stretched, turned

ComplexArray = npt.NDArray[np.complex64]

# Samples after the last frame's centre lie under fewer windows than the rest, at the very end under
# almost none. Dividing by the window sum there would amplify phase errors tenfold. Where the sum is
# below this share of its usual value, the sound fades out with the window instead.
EDGE_CLAMP = 0.25


class Stft(NamedTuple):
    """The STFT and its inverse for one shape of spectrogram; a tuple, so that kernels accept it."""

    n_fft: int
    hop_length: int
    n_frames: int
    n_samples: int  # L
    n_rows: int  # F
    n_lanes: int  # P
    n_columns: int  # K
    before: int  # columns before the first sample
    radices: IntArray  # of N // 2
    half_roots: FloatArray  # of N // 2
    roots: FloatArray  # of N
    offsets: IntArray  # (N,): places of a frame's samples in the folded signal, in the order of an unordered tile
    taper: FloatArray  # (N,): half the window, in the same order
    weight: FloatArray  # (hop_length, K): 1 / (n_fft / 2 * clamped sum of squared windows); 0 outside the signal


@lru_cache(maxsize=32)
def stft_for(n_fft: int, hop_length: int, n_frames: int, length: int | None = None) -> Stft:
    """Return the (cached) transform for one shape of spectrogram and a wanted length in samples.

    A signal of `(n_frames - 1) * hop_length` samples, or up to `hop_length - 1` more, has
    `n_frames` frames. Within these bounds, signals get the wanted length. This matters for
    iterations: sound that they place after the recording's end is lost when the waveform is cut.
    """
    fewest = (n_frames - 1) * hop_length
    n_samples = fewest if length is None else min(max(length, fewest), fewest + hop_length - 1)
    n_lanes = -(-n_frames // LANES) * LANES
    before = -(-(n_fft // 2) // hop_length)
    n_columns = n_lanes + before + (n_fft // 2 - 1) // hop_length
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    radices = radices_for(n_fft // 2)
    order = (2 * places_for(n_fft // 2, radices)[:, None] + np.arange(2)).ravel()
    position = order - n_fft // 2 + before * hop_length  # of the first frame's samples, from column 0 on
    return Stft(
        n_fft=n_fft,
        hop_length=hop_length,
        n_frames=n_frames,
        n_samples=n_samples,
        n_rows=n_fft // 2 + 1,
        n_lanes=n_lanes,
        n_columns=n_columns,
        before=before,
        radices=radices,
        half_roots=roots_for(n_fft // 2),
        roots=roots_for(n_fft),
        offsets=position % hop_length * n_columns + position // hop_length,
        taper=(0.5 * window[order]).astype(np.float32),
        weight=_weight(window, hop_length, n_frames, n_samples, before, n_columns),
    )


def _weight(
    window: npt.NDArray[np.float64], hop_length: int, n_frames: int, n_samples: int, before: int, n_columns: int
) -> FloatArray:
    n_fft = window.size
    total = np.zeros((n_frames - 1) * hop_length + n_fft)
    for frame in range(n_frames):
        total[frame * hop_length : frame * hop_length + n_fft] += window**2
    usual = 0.375 * n_fft / hop_length  # mean of hann ** 2, times the overlap
    clamped = np.maximum(total[n_fft // 2 :][:n_samples], EDGE_CLAMP * usual)
    weight = np.zeros(n_columns * hop_length)
    weight[before * hop_length :][:n_samples] = 2 / (n_fft * clamped)  # the transforms scale by n_fft / 2
    return weight.reshape(n_columns, hop_length).T.astype(np.float32).ravel()


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
    """Write the spectra of a signal."""
    half, lanes = stft.n_fft // 2, stft.n_lanes
    tile = np.empty(half * STRIDE, np.float32)
    for lane in range(0, lanes, LANES):
        cut(stft, folded, lane, tile)
        put_in_order(tile, stft.radices, stft.half_roots)
        for k in range(half // 2 + 1):
            low, high = split(stft, tile, k)
            write_row(spectra, k, lanes, lane, low)
            write_row(spectra, half - k, lanes, lane, high)


@kernel
def fold(stft: Stft, signal: FloatArray, folded: FloatArray) -> None:
    """Write a signal (L,) in folded order."""
    hop, columns = stft.hop_length, stft.n_columns
    folded[:] = 0
    for i in range(signal.size):
        folded[i % hop * columns + i // hop + stft.before] = signal[i]


@kernel
def unfold(stft: Stft, folded: FloatArray, scale: np.float32, signal: FloatArray) -> None:
    """Write the first samples of a folded signal into `signal`, in order and scaled by `scale`."""
    hop, columns = stft.hop_length, stft.n_columns
    for first in range(0, signal.size, hop):
        column = folded[first // hop + stft.before :]
        inside = signal[first : first + hop]
        for i in range(inside.size):
            inside[i] = scale * column[i * columns]
