"""The named ways to turn magnitudes into sound, and the one function that applies them to a batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from wavemill.inversion.arguments import (
    check_counts,
    check_geometry,
    check_magnitude,
    check_method,
    check_n_iter,
)
from wavemill.inversion.griffin_lim import polish, search
from wavemill.inversion.pghi import integrate_phase
from wavemill.inversion.phases import scattered_turns, spectra
from wavemill.inversion.stft import ComplexArray, FloatArray, Stft, stft_for

# (transform, magnitude (T, F) with a maximum of about 1, number of iterations) -> spectra (T, F)
Estimate = Callable[[Stft, FloatArray, int], ComplexArray]


def _pghi(stft: Stft, magnitude: FloatArray, n_iter: int) -> ComplexArray:
    turns = integrate_phase(magnitude, n_fft=stft.n_fft, hop_length=stft.hop_length)
    return polish(stft, magnitude, spectra(magnitude, turns), n_iter=n_iter)


def _pghi_fine(stft: Stft, magnitude: FloatArray, n_iter: int) -> ComplexArray:
    """Integrate and polish on twice the frames, those between being the mean in dB; then polish as given."""
    T, F = magnitude.shape
    dense = np.empty((2 * T - 1, F), np.float32)
    dense[::2] = magnitude
    dense[1::2] = np.sqrt(magnitude[:-1] * magnitude[1:])
    fine = stft_for(stft.n_fft, stft.hop_length // 2, 2 * T - 1, stft.n_samples)
    found = _pghi(fine, dense, n_iter)[::2]  # (2T - 1, F) -> (T, F)
    return polish(stft, magnitude, np.ascontiguousarray(found), n_iter=n_iter)


def _griffin_lim(stft: Stft, magnitude: FloatArray, n_iter: int) -> ComplexArray:
    start = spectra(magnitude, scattered_turns(stft.shape).copy())
    return search(stft, magnitude, start, n_iter=n_iter, momentum=0.99)


def _centre_phase(_stft: Stft, magnitude: FloatArray, _n_iter: int) -> ComplexArray:
    """Every frame an even pulse at its window's centre."""
    centred = magnitude.astype(np.complex64)
    centred[:, 1::2] *= -1
    return centred


def _zero_phase(_stft: Stft, magnitude: FloatArray, _n_iter: int) -> ComplexArray:
    """Every frame an even pulse at its first sample, where the window is zero: what the course does."""
    return magnitude.astype(np.complex64)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to estimate phases; `n_iter` is its usual number of iterations, None where it has none."""

    estimate: Estimate
    n_iter: int | None = None
    halves_hop: bool = False


_METHODS: dict[str, Method] = {
    "pghi+gl": Method(estimate=_pghi, n_iter=4),
    "pghi": Method(estimate=_pghi),
    "fine": Method(estimate=_pghi_fine, n_iter=4, halves_hop=True),
    "griffin-lim": Method(estimate=_griffin_lim, n_iter=32),
    "centre-phase": Method(estimate=_centre_phase),
    "zero-phase": Method(estimate=_zero_phase),
}
METHODS: tuple[str, ...] = tuple(_METHODS)


def invert(
    magnitude: FloatArray,
    *,
    n_fft: int,
    hop_length: int,
    method: str = "pghi+gl",
    length: int | None = None,
    n_iter: int | None = None,
    n_threads: int = 1,
) -> FloatArray:
    """Estimate the waveforms whose STFT magnitudes are `magnitude`.

    A clip's bytes depend on its own magnitudes and the parameters only: not on the other clips of the batch,
    its place among them, or the number of threads.

    Parameters
    ----------
    magnitude : float32 [shape=(batch, n_fft // 2 + 1, frames), finite, >= 0]
        Linear amplitude, not dB, of the centred, zero-padded STFT with a periodic Hann window: what
        `abs(librosa.stft(y, n_fft=n_fft, hop_length=hop_length))` gives.
    n_fft : even int >= 4, in samples
    hop_length : int >= 1, <= n_fft // 2, in samples
    method : str
        One of `METHODS`:

        - "pghi+gl": phase gradient heap integration, then 4 plain Griffin-Lim iterations.
        - "pghi": the integration alone.
        - "fine": integration and 4 iterations on twice the frames, then 4 on those given. The nearest to the
          recording where frames overlap by half, at twice the cost. Needs an even `hop_length`.
        - "griffin-lim": fast Griffin-Lim, 32 iterations with momentum 0.99, from a fixed scattered start.
        - "centre-phase": every frame a pulse at its centre; costs one inverse transform.
        - "zero-phase": every frame a pulse at its start; poor, kept to compare with.
    length : int >= 0, in samples, or None
        Up to `(frames - 1) * hop_length`, which is what None stands for, the waveforms are cut to it. The
        frames can cover `hop_length - 1` samples more; beyond that zeros follow.
    n_iter : int >= 0, or None
        Number of iterations in place of the method's own.
    n_threads : int >= 1
        Clips are shared out between so many threads.

    Returns
    -------
    float32 [shape=(batch, length)]
        Not limited to [-1, 1]: peaks can exceed the recording's.

    Raises
    ------
    UsageError
        If a shape, a parameter or a value of `magnitude` is none of the above. The message names the clip.

    References
    ----------
    .. [1] Prusa, Balazs, Sondergaard, "A noniterative method for reconstruction of phase from STFT
    magnitude", 2017. .. [2] Perraudin, Balazs, Sondergaard, "A fast Griffin-Lim algorithm", 2013.
    """
    check_method(method, METHODS)
    chosen = _METHODS[method]
    check_n_iter(method, chosen.n_iter, n_iter)
    check_geometry(n_fft=n_fft, hop_length=hop_length, halves_hop=chosen.halves_hop)
    check_counts(length=length, n_threads=n_threads)
    clips = check_magnitude(magnitude, n_fft=n_fft)
    stft = stft_for(n_fft, hop_length, clips.shape[2], length)
    waveforms = np.zeros((len(clips), stft.n_samples if length is None else length), np.float32)
    iterations = (chosen.n_iter or 0) if n_iter is None else n_iter
    _each(
        partial(_invert_clip, clips, waveforms, stft, chosen.estimate, iterations),
        n_items=len(clips),
        n_threads=n_threads,
    )
    return waveforms


def _each(work: Callable[[int], None], *, n_items: int, n_threads: int) -> None:
    """Call `work` with every index below `n_items`, on up to `n_threads` threads."""
    n_threads = min(n_threads, n_items)
    if n_threads <= 1:
        for index in range(n_items):
            work(index)
        return
    with ThreadPoolExecutor(n_threads, "invert") as pool:
        for _ in pool.map(work, range(n_items)):
            pass


def _invert_clip(
    clips: FloatArray, waveforms: FloatArray, stft: Stft, estimate: Estimate, n_iter: int, index: int
) -> None:
    """Write the waveform of one clip; silence stays zero."""
    peak = float(clips[index].max())
    if peak == 0:
        return
    # A power of two changes no digit, and keeps squares of very soft or loud clips within float32.
    scale = np.float32(2.0 ** np.clip(np.frexp(peak)[1], -126, 126))
    magnitude = np.ascontiguousarray(clips[index].T) * (1 / scale)  # (F, T) -> (T, F)
    signal = stft.synthesize(estimate(stft, magnitude, n_iter))
    n_kept = min(signal.size, waveforms.shape[1])
    np.multiply(signal[:n_kept], scale, out=waveforms[index, :n_kept])
