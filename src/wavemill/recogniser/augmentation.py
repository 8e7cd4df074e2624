"""Augment the recogniser's log-mel pictures, and make pictures of sounds that are not words.

The pictures come from real recordings only; nothing here imitates a model's mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wavemill.arrays import FloatArray
from wavemill.vae.training.augmentation import interpolation_matrix

Targets = Mapping[str, FloatArray]

SHIFT_FRAMES = (-6.0, 14.0)
STRETCH = (0.88, 1.14)
TILT_DB = 6.0  # at most, between the lowest and the highest band: imitates another microphone
NOISE_DB = (-55.0, -22.0)  # relative to the loudest point
FLOOR_DB = 15.0  # at most this much is cut off at the bottom of the range
MASKED_BANDS, MASKED_FRAMES = 6, 12
MIXED, NOT_A_WORD = 0.2, 0.06  # shares of a batch


def augment(
    pictures: FloatArray, targets: Targets, rng: np.random.Generator, *, range_db: float
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Return a batch as if recorded elsewhere, with some items mixed and some replaced by noise.

    The target of a mixture lies between those of its two sounds, and the target of noise is even
    over all values. This keeps the recogniser from being sure of answers that it cannot know.

    Parameters
    ----------
    pictures : float32 [shape=(batch, n_bands, n_frames)], in [0, 1]
    targets : float32 [shape=(batch, values)] by kind of label, rows sum to 1
    """
    x = _tilt(_move(pictures, rng), rng, range_db)
    share = np.where(rng.random(len(x)) < MIXED, rng.uniform(0.5, 1, len(x)), 1).astype(np.float32)
    partner = rng.permutation(len(x))
    power = _power(x, range_db) * _as_items(share) + _power(x[partner], range_db) * _as_items(1 - share)
    noise_db = rng.uniform(*NOISE_DB, len(x)).astype(np.float32)
    power += _as_items(10 ** (noise_db / 10)) * rng.exponential(1, x.shape).astype(np.float32)
    x = _mask(_floor(_picture(power, range_db), rng, range_db), rng)
    noise = rng.random(len(x)) < NOT_A_WORD
    x[noise] = not_a_word(int(noise.sum()), (x.shape[1], x.shape[2]), rng)
    mixed = {}
    for kind, target in targets.items():
        mixed[kind] = share[:, None] * target + (1 - share[:, None]) * target[partner]
        mixed[kind][noise] = 1 / target.shape[1]
    return x, mixed


def not_a_word(n_items: int, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Return pictures of smooth random energy, float32 [shape=(n_items, *shape)], in [0, 1]."""
    made = np.zeros((n_items, *shape), np.float32)
    for item in made:
        smooth = gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, (4.0, 8.0)))
        smooth /= max(float(smooth.std()), 1e-6)
        item[:] = np.clip(0.4 + 0.25 * smooth, 0, 1)
        item[:, int(rng.integers(shape[1] // 4, shape[1])) :] = 0  # cut to a random length, as words have
    return made


def _move(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    n_items, _, n_frames = x.shape
    shift = rng.uniform(*SHIFT_FRAMES, (n_items, 1))
    stretch = np.exp(rng.uniform(np.log(STRETCH[0]), np.log(STRETCH[1]), (n_items, 1)))
    frames = (np.arange(n_frames) - shift) * stretch  # (B, T): the frame that each new one is read from
    moved = x @ interpolation_matrix(frames, n_frames).transpose(0, 2, 1)
    return np.asarray(np.clip(moved, 0, 1), np.float32)


def _tilt(x: FloatArray, rng: np.random.Generator, range_db: float) -> FloatArray:
    slope_db = rng.uniform(-TILT_DB, TILT_DB, (len(x), 1, 1))
    tilted = x + slope_db * np.linspace(-0.5, 0.5, x.shape[1])[None, :, None] / range_db
    return np.where(x > 0, np.clip(tilted, 0, 1), 0).astype(np.float32)


def _floor(x: FloatArray, rng: np.random.Generator, range_db: float) -> FloatArray:
    floor = _as_items(rng.uniform(0, FLOOR_DB / range_db, len(x)))
    return np.where(x > floor, x, np.float32(0)).astype(np.float32)


def _mask(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    for item in x:
        band, frame = rng.integers(item.shape[0]), rng.integers(item.shape[1])
        item[band : band + rng.integers(MASKED_BANDS + 1)] = 0
        item[:, frame : frame + rng.integers(MASKED_FRAMES + 1)] = 0
    return x


def _power(x: FloatArray, range_db: float) -> FloatArray:
    return np.where(x > 0, 10 ** ((x - 1) * (range_db / 10)), 0).astype(np.float32)


def _picture(power: FloatArray, range_db: float) -> FloatArray:
    loudest = np.maximum(power.max(axis=(1, 2), keepdims=True), 1e-12)
    db = 10 * np.log10(np.maximum(power / loudest, 1e-12))
    return np.asarray(np.clip(db / range_db + 1, 0, 1), np.float32)


def _as_items(values: NDArray[np.floating]) -> FloatArray:
    return np.asarray(values, np.float32)[:, None, None]  # (B,) -> (B, 1, 1)
