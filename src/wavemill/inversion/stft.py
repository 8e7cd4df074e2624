"""The centred, zero-padded Hann STFT of one clip, and its least-squares inverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from wavemill.inversion.kernel import kernel

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]

# The samples after the last frame's centre lie under fewer windows than the rest, at the end under almost
# none. There the division by the window sum would amplify errors of phase tenfold; under this part of the
# sum's usual value the sound fades out with the window instead.
EDGE_CLAMP = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Stft:
    """Analysis and synthesis for one shape of spectrogram.

    Axes: T frames, N = n_fft, F = N // 2 + 1 rows, L samples.

    `n_samples` is the longest signal that has `n_frames` frames. Spectra are frames first, (T, F), with the
    phase convention of librosa: the transform's origin is the frame's first sample.
    """

    n_fft: int
    hop_length: int
    n_frames: int
    window: FloatArray  # (N,)
    weight: FloatArray  # (L,), one over the clamped sum of squared windows

    @property
    def n_samples(self) -> int:
        """Length of a synthesised signal, in samples."""
        return self.weight.size

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a spectrum, (T, F)."""
        return self.n_frames, self.n_fft // 2 + 1

    def analyze(self, signal: FloatArray) -> ComplexArray:
        """Return the spectra (T, F) of a signal (L,)."""
        frames = np.empty((self.n_frames, self.n_fft), np.float32)
        _cut(signal, self.window, self.hop_length, frames)
        spectra: ComplexArray = scipy.fft.rfft(frames, workers=1)
        return spectra

    def synthesize(self, spectra: ComplexArray) -> FloatArray:
        """Return the signal (L,) whose spectra are nearest to `spectra` (T, F), fading at the clamped end."""
        frames = scipy.fft.irfft(spectra, n=self.n_fft, workers=1)  # (T, F) -> (T, N)
        signal = np.zeros(self.n_samples, np.float32)
        _overlap_add(frames, self.window, self.weight, self.hop_length, signal)
        return signal


@lru_cache(maxsize=8)
def stft_for(n_fft: int, hop_length: int, n_frames: int) -> Stft:
    """Build (or find) the transform for one shape of spectrogram."""
    # 1 + L // hop frames are made of L samples, so up to hop - 1 samples follow the last frame's centre.
    n_samples = n_frames * hop_length - 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    total = np.zeros((n_frames - 1) * hop_length + n_fft)
    for frame in range(n_frames):
        total[frame * hop_length : frame * hop_length + n_fft] += window**2
    usual = 0.375 * n_fft / hop_length  # mean of hann ** 2, times the overlap
    clamped = np.maximum(total[n_fft // 2 :][:n_samples], EDGE_CLAMP * usual)
    return Stft(
        n_fft=n_fft,
        hop_length=hop_length,
        n_frames=n_frames,
        window=window.astype(np.float32),
        weight=(1 / clamped).astype(np.float32),
    )


# The inner loops of both kernels run over slices that start at 0: only then does numba see that no index is
# negative, and make them eight samples wide.


@kernel
def _cut(signal: FloatArray, window: FloatArray, hop_length: int, frames: FloatArray) -> None:
    """Write the windowed frames of a signal that is silent outside its ends."""
    n_frames, n_fft = frames.shape
    for t in range(n_frames):
        start = t * hop_length - n_fft // 2  # of the frame, in the signal
        first, last = max(0, -start), min(n_fft, signal.size - start)
        frames[t, :first] = 0.0
        frames[t, last:] = 0.0
        inside, source, taper = (
            frames[t, first:last],
            signal[start + first : start + last],
            window[first:last],
        )
        for n in range(inside.size):
            inside[n] = source[n] * taper[n]


@kernel
def _overlap_add(
    frames: FloatArray, window: FloatArray, weight: FloatArray, hop_length: int, signal: FloatArray
) -> None:
    """Add the windowed frames up in `signal`, zero on entry, and divide by the window sum."""
    n_frames, n_fft = frames.shape
    for t in range(n_frames):
        start = t * hop_length - n_fft // 2
        first, last = max(0, -start), min(n_fft, signal.size - start)
        inside, target, taper = (
            frames[t, first:last],
            signal[start + first : start + last],
            window[first:last],
        )
        for n in range(inside.size):
            target[n] += inside[n] * taper[n]
    for i in range(signal.size):
        signal[i] *= weight[i]
