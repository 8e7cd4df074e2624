"""From magnitudes and phases to complex spectra, and phases for bins that nothing is known about.

Phases are counted in turns (1.0 is a whole revolution): wrapping is then one subtraction.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from wavemill.inversion.kernel import kernel
from wavemill.inversion.stft import ComplexArray, FloatArray

_PI = math.pi


def spectra(magnitude: FloatArray, turns: FloatArray) -> ComplexArray:
    """Return `magnitude * exp(2j * pi * turns)`, all (T, F); `turns` is within a few revolutions of 0."""
    out = np.empty(magnitude.shape, np.complex64)
    _polar(magnitude.ravel(), turns.ravel(), out.view(np.float32).ravel())
    return out


@lru_cache(maxsize=8)
def scattered_turns(shape: tuple[int, int]) -> FloatArray:
    """Return phases (T, F) in [-0.5, 0.5) that look random and depend on frame and bin alone."""
    frame = np.arange(shape[0], dtype=np.uint32)[:, None]
    row = np.arange(shape[1], dtype=np.uint32)[None, :]
    mixed = frame * np.uint32(0x9E3779B1) ^ row * np.uint32(0x85EBCA77) ^ np.uint32(0x2545F491)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # two rounds of multiply and shift
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    turns: FloatArray = (mixed >> np.uint32(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)
    turns.setflags(write=False)
    return turns


@kernel
def _polar(magnitude: FloatArray, turns: FloatArray, out: FloatArray) -> None:
    """Write interleaved real and imaginary parts, to 3e-7 of the magnitude.

    Sine and cosine of half the angle, which lies within a quarter turn, come from their series, and the whole
    angle from the addition theorems: without branches the loop runs eight bins at a time, four times as fast
    as calls.
    """
    for i in range(magnitude.size):
        wrapped = turns[i] - np.floor(turns[i] + np.float32(0.5))
        a = wrapped * np.float32(_PI)
        b = a * a
        c12 = np.float32(1 / 479001600)
        cos = c12 * b - np.float32(1 / 3628800)
        cos = cos * b + np.float32(1 / 40320)
        cos = cos * b - np.float32(1 / 720)
        cos = cos * b + np.float32(1 / 24)
        cos = cos * b - np.float32(1 / 2)
        cos = cos * b + np.float32(1)
        sin = np.float32(-1 / 39916800) * b + np.float32(1 / 362880)
        sin = sin * b - np.float32(1 / 5040)
        sin = sin * b + np.float32(1 / 120)
        sin = sin * b - np.float32(1 / 6)
        sin = sin * b + np.float32(1)
        sin = sin * a
        out[2 * i] = magnitude[i] * (np.float32(1) - np.float32(2) * sin * sin)
        out[2 * i + 1] = magnitude[i] * (np.float32(2) * sin * cos)
