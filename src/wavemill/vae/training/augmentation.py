"""Augment spectrograms: shift and stretch them in time, warp them in frequency.

This imitates a word said later, slower or faster, or by a speaker with a longer or shorter throat.
It works on spectrograms because a dataset holds nothing else. Where a label is a number, such as a
pitch or a tempo, stretching or warping could make it wrong. Such spectrograms are shifted and
coloured instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.labels import Labels

# Share of the clips that are left unchanged. Interpolation smooths a spectrogram; when every clip
# was augmented, fsdd-hifi learnt to draw only smooth ones (error 0.00030 on augmented clips,
# 0.00056 on clips as recorded, whether trained on or held out).
UNTOUCHED = 0.5
SHIFT_FRAMES = (-3.0, 10.0)
STRETCH = (0.88, 1.14)
WARP = (0.92, 1.09)
COLOUR_POINTS = 6  # of a random equaliser's curve

Moves = Callable[[FloatArray, np.random.Generator], FloatArray]


def moves_for(labels: Sequence[Labels], colour: float) -> Moves:
    """Return the augmentation for spectrograms with these labels; see the top of this module.

    `colour` is the standard deviation of the random equaliser, on the scale of [0, 1].
    """
    has_number = any(not isinstance(value, str) for item in labels for value in item.values())
    return partial(shifted_and_coloured, colour=colour) if has_number else moved


def augment(x: FloatArray, rng: np.random.Generator, moves: Moves | None = None) -> FloatArray:
    """Augment each spectrogram by its own random amounts; leave half unchanged.

    Parameters
    ----------
    x : float32 [shape=(batch, n_bins, n_frames)], in [0, 1]
    rng : numpy Generator
    moves : by default `moved`: shift, stretch and warp

    Returns
    -------
    float32 [shape=(batch, n_bins, n_frames)], in [0, 1]
        Frames from beyond either end are silent. Bins from above the highest frequency repeat it.
    """
    changed = x.copy()
    chosen = rng.random(len(x)) >= UNTOUCHED
    if chosen.any():
        changed[chosen] = (moves or moved)(x[chosen], rng)
    return changed


def shifted_and_coloured(x: FloatArray, rng: np.random.Generator, *, colour: float) -> FloatArray:
    """Shift each spectrogram by whole frames, later by up to 10, and change its colour as an equaliser does."""
    n_items, n_bins, n_frames = x.shape
    shifts = [min(int(rng.integers(0, int(SHIFT_FRAMES[1]) + 1)), n_frames - 1) for _ in range(n_items)]
    points = rng.normal(0, colour, (n_items, COLOUR_POINTS))
    places = np.linspace(0, COLOUR_POINTS - 1, n_bins)
    result: FloatArray = np.zeros(x.shape, np.float32)
    for i, clip in enumerate(x):
        curve = np.interp(places, np.arange(COLOUR_POINTS), points[i]).astype(np.float32)[:, None]  # (F, 1)
        coloured = np.where(clip > 0, clip + curve, 0)
        coloured += 1 - coloured.max() if coloured.any() else 0  # the peak stays at 1
        result[i, :, shifts[i] :] = np.where(clip > 0, np.clip(coloured, 0, 1), 0)[:, : n_frames - shifts[i]]
    return result


def moved(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Shift, stretch and warp each spectrogram by its own random amounts."""
    n_items, n_bins, n_frames = x.shape
    shift = rng.uniform(*SHIFT_FRAMES, (n_items, 1))
    stretch = _log_uniform(rng, STRETCH, n_items)
    warp = _log_uniform(rng, WARP, n_items)
    bins = np.minimum(np.arange(n_bins) * warp, n_bins - 1)  # (B, F): the bin that each new bin is read from
    frames = (np.arange(n_frames) - shift) * stretch  # (B, T)
    over_bins = interpolation_matrix(bins, n_bins)  # (B, F, F)
    over_frames = interpolation_matrix(frames, n_frames)  # (B, T, T)
    return np.clip(over_bins @ x @ over_frames.transpose(0, 2, 1), 0, 1)


def interpolation_matrix(positions: NDArray[np.float64], n_points: int) -> FloatArray:
    """Return Catmull-Rom weights that read `n_points` samples at fractional positions.

    Harmonics are 3 to 6 bins apart; linear interpolation would blur them, so this is cubic.

    Parameters
    ----------
    positions : float [shape=(batch, n)], in samples
    n_points : int > 0

    Returns
    -------
    float32 [shape=(batch, n, n_points)]
        Rows sum to 1 inside [1, n_points - 2]; positions beyond the ends read zeros.
    """
    d = np.abs(positions[..., None].astype(np.float32) - np.arange(n_points, dtype=np.float32))
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, np.float32(0))).astype(np.float32)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], n_items: int) -> NDArray[np.float64]:
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), (n_items, 1)))
