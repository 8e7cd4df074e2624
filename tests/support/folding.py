"""Between the flat arrays of the kernels and the shapes that librosa and scipy use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.stft import Stft, fold, unfold
from wavemill.inversion.tiles import analyze, synthesize

ComplexArray = npt.NDArray[np.complex64]


def flat_magnitude(stft: Stft, magnitude: FloatArray) -> FloatArray:
    """(F, T) -> (F * P)."""
    return np.pad(magnitude, ((0, 0), (0, stft.n_lanes - stft.n_frames))).astype(np.float32).ravel()


def flat_spectra(stft: Stft, spectra: ComplexArray) -> FloatArray:
    """(F, T) -> (F * 2 * P)."""
    padded = np.pad(spectra, ((0, 0), (0, stft.n_lanes - stft.n_frames)))
    return np.stack([padded.real, padded.imag], axis=1).astype(np.float32).ravel()


def shaped_spectra(stft: Stft, flat: FloatArray) -> ComplexArray:
    """(F * 2 * P) -> (F, T)."""
    real, imag = np.moveaxis(flat.reshape(stft.n_rows, 2, stft.n_lanes)[:, :, : stft.n_frames], 1, 0)
    return (real + 1j * imag).astype(np.complex64)


def folded_signal(stft: Stft, signal: FloatArray) -> FloatArray:
    """(L,) -> (hop_length * K)."""
    folded = np.empty(stft.weight.size, np.float32)
    fold(stft, signal, folded)
    return folded


def unfolded_signal(stft: Stft, folded: FloatArray) -> FloatArray:
    """(hop_length * K) -> (L,)."""
    signal = np.empty(stft.n_samples, np.float32)
    unfold(stft, folded, np.float32(1), signal)
    return signal


def spectra_of_signal(stft: Stft, signal: FloatArray) -> ComplexArray:
    """(L,) -> (F, T)."""
    flat = np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    analyze(stft, folded_signal(stft, signal), flat)
    return shaped_spectra(stft, flat)


def folded_from_spectra(stft: Stft, spectra: ComplexArray) -> FloatArray:
    """(F, T) -> (hop_length * K)."""
    folded = np.empty(stft.weight.size, np.float32)
    synthesize(stft, flat_spectra(stft, spectra), folded)
    return folded


def signal_from_spectra(stft: Stft, spectra: ComplexArray) -> FloatArray:
    """(F, T) -> (L,)."""
    return unfolded_signal(stft, folded_from_spectra(stft, spectra))
