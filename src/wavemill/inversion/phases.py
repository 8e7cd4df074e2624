"""Combine magnitudes and phases into complex spectra; scatter phases where they are unknown.

Phases are integers in units of 2**-24 turns. Sums are exact in any order, and wrapping drops high
bits.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.kernel import kernel

PhaseArray = npt.NDArray[np.int32]
TURN = 2**24
UNKNOWN = -(2**31)  # in place of a phase

_RADIANS = math.pi / 2**32  # from phases in 2**-32 turns to half the angle in radians


@lru_cache(maxsize=8)
def scattered(n_rows: int, n_frames: int) -> PhaseArray:
    """Return pseudo-random phases (F, T) within one turn, determined by row and frame alone."""
    frame = np.arange(n_frames, dtype=np.uint32)[None, :]
    row = np.arange(n_rows, dtype=np.uint32)[:, None]
    mixed = frame * np.uint32(0x9E3779B1) ^ row * np.uint32(0x85EBCA77) ^ np.uint32(0x2545F491)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # two rounds of multiply and shift
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    phases = (mixed >> np.uint32(8)).astype(np.int32)
    phases.setflags(write=False)
    return phases


@kernel
def spectra_of(magnitude: FloatArray, phases: PhaseArray, lanes: int, spectra: FloatArray) -> None:
    """Write `magnitude * exp(2j * pi * phases / TURN)`, accurate to 3e-7 of the magnitude.

    All arrays are flat, with rows of `lanes`. Rows of `spectra` beyond those of `phases` become
    zero. Sine and cosine of half the angle, which is within a quarter turn, come from their series;
    the addition theorems give those of the whole angle. The loop has no branches, so it vectorises.
    """
    for row in range(phases.size // lanes):
        size, phase = magnitude[row * lanes :][:lanes], phases[row * lanes :][:lanes]
        real, imag = spectra[2 * row * lanes :][:lanes], spectra[(2 * row + 1) * lanes :][:lanes]
        for t in range(lanes):
            a = np.float32(np.int32(phase[t] << 8)) * np.float32(_RADIANS)
            b = a * a
            cos = np.float32(1 / 479001600) * b - np.float32(1 / 3628800)
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
            real[t] = size[t] * (np.float32(1) - np.float32(2) * sin * sin)
            imag[t] = size[t] * (np.float32(2) * sin * cos)
    spectra[phases.size * 2 :] = 0
