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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.fft_plan import LANES, IntArray, places_for, radices_for, roots_for
from wavemill.inversion.kernel import kernel

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
    window = hann(n_fft)
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


def hann(n_fft: int) -> npt.NDArray[np.float64]:
    """Return the periodic Hann window of `n_fft` samples."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


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
