"""The named methods: the phases that each starts from, and the iterations that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.clip import Clip
from wavemill.inversion.pghi import integrate
from wavemill.inversion.phases import TURN, UNKNOWN, PhaseArray, scattered
from wavemill.inversion.stft import Stft

# (clip, its magnitudes and their transform, which may have more frames) -> phases (n_rows * P)
Start = Callable[[Clip, FloatArray, Stft], PhaseArray]


def _integrated(clip: Clip, magnitude: FloatArray, stft: Stft) -> PhaseArray:
    known = _known(clip, stft)
    return integrate(stft, magnitude, n_rows=clip.n_rows, peak=clip.peak, floor=clip.floor, known=known)


def _scattered(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    phases, known = scattered(clip.n_rows, stft.n_lanes).copy(), _known(clip, stft)
    phases[:, : known.shape[1]] = np.where(known == UNKNOWN, phases[:, : known.shape[1]], known)
    return phases.ravel()


def _known(clip: Clip, stft: Stft) -> PhaseArray:
    """Return the known phases of the first frames (n_rows, K); frames in between are UNKNOWN."""
    if clip.known is None:
        return np.empty((clip.n_rows, 0), np.int32)
    step = 1 if stft.n_frames == clip.work.n_frames else 2
    known = np.full((clip.n_rows, step * clip.known.shape[1]), UNKNOWN, np.int32)
    known[:, ::step] = clip.known[: clip.n_rows]
    return known


def _centred(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    """Return phases that make every frame a symmetric pulse at its window's centre."""
    phases = np.zeros((clip.n_rows, stft.n_lanes), np.int32)
    phases[1::2] = TURN // 2
    return phases.ravel()


def _zero(clip: Clip, _magnitude: FloatArray, stft: Stft) -> PhaseArray:
    """Return phases that make every frame a symmetric pulse at its first sample.

    The window is zero there. The course's own code does this.
    """
    return np.zeros(clip.n_rows * stft.n_lanes, np.int32)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to estimate phases.

    Attributes
    ----------
    n_iter : int or None
        The usual number of iterations; None for a method without iterations.
    momentum : float
        Momentum of fast Griffin-Lim; 0 means plain Griffin-Lim.
    is_fine : bool
        Start and iterate on twice the frames, with the mean in dB between each two, then iterate on
        the given frames.
    treats_rough : bool
        Give rough clips fast iterations instead of the plain ones, see `ROUGH`.
    """

    start: Start
    n_iter: int | None = None
    momentum: float = 0.0
    is_fine: bool = False
    treats_rough: bool = False


# Phase gradients do not describe attacks and noise. A clip is rough if the integrated phases leave a
# relative error of the magnitudes above the first level, -18.4 dB: then fast iterations come nearer to
# the recording than plain ones. Above the second, -12 dB, it needs more of them to come as near as
# librosa's 32; a short clip, much of which is its attack, above -15 dB. Drums and loops leave -7 to
# -23 dB, three of four sentences and digits less than -18.4 dB.
ROUGH = ((0.12, 8), (0.25, 12))  # (error, number of fast iterations above it)
ROUGH_AND_SHORT = ((0.12, 8), (0.18, 16))
ROUGH_MOMENTUM = 0.99

# Fast iterations can build peaks that the recording does not have: up to 1.78 times its highest on
# drum loops. So rough clips are limited to the source's peak before each iteration. Where it is not
# known, the limit is this factor times the level that this share of the samples exceeds after the
# first iteration.
PEAK_MARGIN = 1.2
PEAK_SHARE = 3e-4


def treats_rough(method: Method, n_iter: int | None, stft: Stft) -> bool:
    """Return whether rough clips get other iterations.

    Where frames overlap by half, fast iterations lower PESQ by 0.02 and are left out.
    """
    return method.treats_rough and n_iter is None and 2 * stft.hop_length < stft.n_fft


KNOWN: dict[str, Method] = {
    "pghi+gl": Method(start=_integrated, n_iter=4, treats_rough=True),
    "pghi": Method(start=_integrated),
    "fine": Method(start=_integrated, n_iter=4, is_fine=True),
    "griffin-lim": Method(start=_scattered, n_iter=32, momentum=0.99),
    "centre-phase": Method(start=_centred),
    "zero-phase": Method(start=_zero),
}
METHODS: tuple[str, ...] = tuple(KNOWN)
