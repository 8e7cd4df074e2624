"""Griffin-Lim iterations: plain, to polish good phases, and fast, to find phases from nothing."""

from __future__ import annotations

import numpy as np

from wavemill.inversion.kernel import kernel
from wavemill.inversion.stft import ComplexArray, FloatArray, Stft


def polish(stft: Stft, magnitude: FloatArray, spectra: ComplexArray, *, n_iter: int) -> ComplexArray:
    """Improve the phases of `spectra` (T, F) in plain Griffin-Lim iterations [1]_.

    After phase gradient integration momentum would converge further and sound worse (PESQ -0.15).

    References
    ----------
    .. [1] Griffin, Lim, "Signal estimation from modified short-time Fourier transform", 1984.
    """
    for _ in range(n_iter):
        spectra = stft.analyze(stft.synthesize(spectra))
        _project(magnitude.ravel(), spectra.view(np.float32).ravel())
    return spectra


def search(
    stft: Stft, magnitude: FloatArray, spectra: ComplexArray, *, n_iter: int, momentum: float
) -> ComplexArray:
    """Run fast Griffin-Lim iterations [1]_ from the phases of `spectra` (T, F), as librosa.griffinlim does.

    References
    ----------
    .. [1] Perraudin, Balazs, Sondergaard, "A fast Griffin-Lim algorithm", 2013.
    """
    step = np.float32(momentum / (1 + momentum))
    previous = np.zeros_like(spectra)
    for _ in range(n_iter):
        rebuilt = stft.analyze(stft.synthesize(spectra))
        spectra = rebuilt - step * previous
        _project(magnitude.ravel(), spectra.view(np.float32).ravel())
        previous = rebuilt
    return spectra


@kernel
def _project(magnitude: FloatArray, parts: FloatArray) -> None:
    """Give interleaved complex numbers the wanted magnitudes; magnitudes are scaled to about 1 at most."""
    for i in range(magnitude.size):
        real, imag = parts[2 * i], parts[2 * i + 1]
        scale = magnitude[i] / np.sqrt(real * real + imag * imag + np.float32(1e-30))
        parts[2 * i] = real * scale
        parts[2 * i + 1] = imag * scale
