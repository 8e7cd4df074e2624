"""The named ways to turn magnitudes into sound, and the one function that applies them to a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from wavemill.inversion import estimates
from wavemill.inversion.arguments import (
    check_counts,
    check_geometry,
    check_magnitude,
    check_method,
    check_n_iter,
    checked_values,
)
from wavemill.inversion.clip import measure, prepare
from wavemill.inversion.estimates import Clip
from wavemill.inversion.fft import FloatArray
from wavemill.inversion.stft import Stft, stft_for, unfold

# (clip, number of iterations) -> folded signal of its full transform
Estimate = Callable[[Clip, int], FloatArray]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to estimate phases; `n_iter` is its usual number of iterations, None where it has none."""

    estimate: Estimate
    n_iter: int | None = None
    halves_hop: bool = False


_METHODS: dict[str, Method] = {
    "pghi+gl": Method(estimate=estimates.by_integration, n_iter=4),
    "pghi": Method(estimate=estimates.by_integration),
    "fine": Method(estimate=estimates.by_finer_integration, n_iter=4, halves_hop=True),
    "griffin-lim": Method(estimate=estimates.by_search, n_iter=32),
    "centre-phase": Method(estimate=estimates.by_centre),
    "zero-phase": Method(estimate=estimates.by_zero),
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
        partial(_invert_clip, clips, waveforms, stft, chosen, iterations),
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


def _invert_clip(clips: FloatArray, waveforms: FloatArray, stft: Stft, method: Method, n_iter: int, index: int) -> None:
    """Write the waveform of one clip; silence stays zero."""
    values = np.ascontiguousarray(clips[index])  # (F, T)
    found = measure(values)
    if not found.is_valid:
        values = checked_values(values, index)
        found = measure(values)
    if found.peak == 0:
        return
    # A power of two changes no digit, and keeps squares of very soft or loud clips within float32.
    scale = 2.0 ** min(max(math.frexp(found.peak)[1], -126), 126)
    work = estimates.work_stft(stft, found.n_rows, hop_unit=2 if method.halves_hop else 1)
    magnitude = np.empty(work.n_rows * work.n_lanes, np.float32)
    prepare(values, np.float32(1 / scale), found.n_rows, work.n_lanes, magnitude)
    clip = Clip(
        magnitude=magnitude,
        n_rows=found.n_rows,
        peak=found.peak / scale,
        floor=found.floor / scale,
        work=work,
        full=stft,
    )
    unfold(stft, method.estimate(clip, n_iter), np.float32(scale), waveforms[index, : stft.n_samples])
