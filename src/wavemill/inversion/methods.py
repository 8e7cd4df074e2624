"""The named methods: which phases each starts from, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.clip import Clip
from wavemill.inversion.pghi import integrate
from wavemill.inversion.phases import TURN, PhaseArray, scattered
from wavemill.inversion.stft import Stft

# (clip, its magnitudes and their transform, which may have more frames) -> phases (n_rows * P)
Start = Callable[[Clip, FloatArray, Stft], PhaseArray]


def _integrated(clip: Clip, magnitude: FloatArray, stft: Stft) -> PhaseArray:
    return integrate(stft, magnitude, n_rows=clip.n_rows, peak=clip.peak, floor=clip.floor)


def _scattered(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    return scattered(clip.n_rows, stft.n_lanes).ravel()


def _centred(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    """Every frame an even pulse at its window's centre."""
    phases = np.zeros((clip.n_rows, stft.n_lanes), np.int32)
    phases[1::2] = TURN // 2
    return phases.ravel()


def _zero(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    """Every frame an even pulse at its first sample, where the window is zero: what the course does."""
    return np.zeros(clip.n_rows * stft.n_lanes, np.int32)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to estimate phases.

    Attributes
    ----------
    n_iter : int or None
        The usual number of iterations; None for a method without any.
    momentum : float
        Of fast Griffin-Lim; 0 is the plain one.
    is_fine : bool
        Start and iterate on twice the frames, those between being the mean in dB; then iterate on those given.
    """

    start: Start
    n_iter: int | None = None
    momentum: float = 0.0
    is_fine: bool = False


KNOWN: dict[str, Method] = {
    "pghi+gl": Method(start=_integrated, n_iter=4),
    "pghi": Method(start=_integrated),
    "fine": Method(start=_integrated, n_iter=4, is_fine=True),
    "griffin-lim": Method(start=_scattered, n_iter=32, momentum=0.99),
    "centre-phase": Method(start=_centred),
    "zero-phase": Method(start=_zero),
}
METHODS: tuple[str, ...] = tuple(KNOWN)
