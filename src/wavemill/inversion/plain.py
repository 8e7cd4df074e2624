"""The transforms and iterations of `tiles` and `griffin_lim`, in SciPy and NumPy, one clip at once.

They take the same arguments, arrays and layouts, and give the same signals except for rounding.
They are slower, but short, and do not depend on numba's internals.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

from wavemill.arrays import FloatArray
from wavemill.inversion.stft import Stft, fold, hann, unfold

ComplexArray = npt.NDArray[np.complex64]

_LEAST_ENERGY = 1e-30  # keeps the phase of 0 from becoming NaN


def synthesize(stft: Stft, spectra: FloatArray, folded: FloatArray) -> None:
    """Write the signal whose spectra are closest to `spectra`; see `tiles.synthesize`."""
    real, imag = np.moveaxis(spectra.reshape(stft.n_rows, 2, -1)[:, :, : stft.n_frames], 1, 0)
    fold(stft, _signal_of(stft, (real + 1j * imag).T), folded)


def analyze(stft: Stft, folded: FloatArray, spectra: FloatArray) -> None:
    """Write the spectra of a signal; see `tiles.analyze`."""
    _write(stft, _spectra_of(stft, _unfolded(stft, folded)), spectra)


def project(stft: Stft, magnitude: FloatArray, folded: FloatArray, spectra: FloatArray) -> None:
    """Write spectra that have a signal's phases and the magnitudes; see `griffin_lim.project`."""
    phases_of = _spectra_of(stft, _unfolded(stft, folded))
    _write(stft, _with_magnitude(phases_of, _frames_first(stft, magnitude)), spectra)


def polish(stft: Stft, magnitude: FloatArray, folded: FloatArray, n_iter: int, limit: np.float32) -> None:
    """Improve a folded signal in place by plain Griffin-Lim; see `griffin_lim.polish`."""
    search(stft, magnitude, folded, n_iter, 0.0, limit)


def polish_once(stft: Stft, magnitude: FloatArray, folded: FloatArray) -> float:
    """Run one iteration; return the error of the magnitudes before it; see `griffin_lim.polish_once`."""
    wanted = _frames_first(stft, magnitude)
    found = np.abs(_spectra_of(stft, _unfolded(stft, folded)))
    polish(stft, magnitude, folded, 1, np.float32(np.inf))
    return float(np.linalg.norm((found - wanted)[wanted > 0]) / np.linalg.norm(wanted))


def search(
    stft: Stft, magnitude: FloatArray, folded: FloatArray, n_iter: int, momentum: float, limit: np.float32
) -> None:
    """Run fast Griffin-Lim on a folded signal in place; see `griffin_lim.search`."""
    signal, wanted = _unfolded(stft, folded), _frames_first(stft, magnitude)
    previous = np.zeros_like(wanted, np.complex64)
    for _ in range(n_iter):
        rebuilt = _spectra_of(stft, np.clip(signal, -limit, limit))
        pushed = rebuilt - np.float32(momentum / (1 + momentum)) * previous
        signal, previous = _signal_of(stft, _with_magnitude(pushed, wanted)), rebuilt
    fold(stft, signal, folded)


def _spectra_of(stft: Stft, signal: FloatArray) -> ComplexArray:
    """(L,) -> (T, F)."""
    before = stft.n_fft // 2
    after = (stft.n_frames - 1) * stft.hop_length + stft.n_fft - before - stft.n_samples
    padded = np.pad(signal, (before, after))
    frames = np.lib.stride_tricks.sliding_window_view(padded, stft.n_fft)[:: stft.hop_length]
    return np.asarray(scipy.fft.rfft(frames * hann(stft.n_fft).astype(np.float32)), np.complex64)


def _signal_of(stft: Stft, spectra: ComplexArray) -> FloatArray:
    """(T, F) -> (L,)."""
    frames = scipy.fft.irfft(spectra, stft.n_fft) * hann(stft.n_fft).astype(np.float32)
    whole = np.zeros((stft.n_frames - 1) * stft.hop_length + stft.n_fft, np.float32)
    for number, frame in enumerate(frames):
        whole[number * stft.hop_length :][: stft.n_fft] += frame
    weight = np.float32(stft.n_fft / 2) * _unfolded(stft, stft.weight)
    return np.asarray(whole[stft.n_fft // 2 :][: stft.n_samples] * weight)


def _with_magnitude(spectra: ComplexArray, magnitude: FloatArray) -> ComplexArray:
    energy = spectra.real**2 + spectra.imag**2 + np.float32(_LEAST_ENERGY)
    return np.asarray(spectra * (magnitude / np.sqrt(energy)))


def _unfolded(stft: Stft, folded: FloatArray) -> FloatArray:
    signal = np.empty(stft.n_samples, np.float32)
    unfold(stft, folded, np.float32(1), signal)
    return signal


def _frames_first(stft: Stft, magnitude: FloatArray) -> FloatArray:
    return np.ascontiguousarray(magnitude.reshape(stft.n_rows, -1)[:, : stft.n_frames].T)


def _write(stft: Stft, spectra: ComplexArray, flat: FloatArray) -> None:
    shaped = flat[: stft.n_rows * 2 * stft.n_lanes].reshape(stft.n_rows, 2, stft.n_lanes)  # `flat` may have more rows
    shaped[:, :, stft.n_frames :] = 0
    shaped[:, 0, : stft.n_frames], shaped[:, 1, : stft.n_frames] = spectra.T.real, spectra.T.imag
