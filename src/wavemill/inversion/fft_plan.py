"""Plan a Fourier transform of one length: its factors, the order of its numbers, its roots."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray

IntArray = npt.NDArray[np.int64]

LANES = 16  # frames that are transformed at once


def radices_for(n: int) -> IntArray:
    """Return factors of n, small ones first: eights and fours, and primes for the rest.

    One eight fewer is taken if a lone factor of two would remain. Eights come last, because the
    last steps go over the whole tile: the fewer, the better.
    """
    radices = []
    for radix in (8, 4, *range(2, n + 1)):
        while n % radix == 0 and not (radix == 8 and n % 32 == 16):  # split 16 into 4 * 4, not 8 * 2
            radices.append(radix)
            n //= radix
    return np.array(sorted(radices), np.int64)


def places_for(n: int, radices: IntArray) -> IntArray:
    """Return the index of the number at each place of a tile that is out of order."""
    order = np.arange(n)
    for done, radix in enumerate(radices[::-1]):
        order = np.moveaxis(order.reshape(*order.shape[:done], -1, radix), -1, done)
    return order.ravel()


def roots_for(n: int) -> FloatArray:
    """Return the cosine and sine of -2 pi k / n for each k < n, interleaved."""
    angles = -2 * math.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).ravel()
