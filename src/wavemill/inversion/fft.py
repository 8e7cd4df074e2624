"""Complex Fourier transforms of any length, in place, of sixteen frames at once.

`put_in_order` takes numbers in the permuted order of `fft_plan.places_for` and returns them in
order; `put_out_of_order` does the reverse. Thus no separate pass has to permute the numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.fft_plan import LANES, IntArray
from wavemill.inversion.kernel import inlined, kernel
from wavemill.inversion.lanes import load, quarter_turned, store, stretched, turned

# A tile holds sixteen frames of n complex numbers as a flat array: the sixteen real parts of the
# first number, then its sixteen imaginary parts, then the second number, and so on.
STRIDE = 2 * LANES

# Numbers that go through their first steps together: 16 KiB, which stay in the first-level cache.
_BLOCK = 128

_EIGHTH = np.float32(math.sqrt(0.5))
_COS_FIFTH, _COS_2_FIFTHS = np.float32(math.cos(2 * math.pi / 5)), np.float32(math.cos(4 * math.pi / 5))
_SIN_FIFTH, _SIN_2_FIFTHS = np.float32(math.sin(2 * math.pi / 5)), np.float32(math.sin(4 * math.pi / 5))


@inlined
def put_in_order(tile: FloatArray, radices: IntArray, roots: FloatArray) -> None:
    """Transform a tile in place; the input is out of order, the result is in order."""
    n_steps, block = _first_steps(radices)
    for start in range(0, tile.size, block * STRIDE):
        part, m = tile[start : start + block * STRIDE], 1
        for radix in radices[:n_steps]:
            _combine(part, radix, m, roots)
            m *= radix
    m = block
    for radix in radices[n_steps:]:
        _combine(tile, radix, m, roots)
        m *= radix


@inlined
def put_out_of_order(tile: FloatArray, radices: IntArray, roots: FloatArray) -> None:
    """Transform a tile in place; the input is in order, the result is out of order."""
    n_steps, block = _first_steps(radices)
    m = tile.size // STRIDE
    for radix in radices[n_steps:][::-1]:
        m //= radix
        _divide(tile, radix, m, roots)
    for start in range(0, tile.size, block * STRIDE):
        part, m = tile[start : start + block * STRIDE], block
        for radix in radices[:n_steps][::-1]:
            m //= radix
            _divide(part, radix, m, roots)


@inlined
def _first_steps(radices: IntArray) -> Any:
    """Return how many steps stay within blocks of at most `_BLOCK` numbers, and the size of a block."""
    n_steps, block = 0, 1
    while n_steps < radices.size and block * radices[n_steps] <= _BLOCK:
        block *= radices[n_steps]
        n_steps += 1
    return n_steps, block


@inlined
def _combine(tile: FloatArray, radix: int, m: int, roots: FloatArray) -> None:
    """Combine transforms of length m into transforms of length radix * m: decimation in time."""
    if radix == 8:
        _combine8(tile, m, roots)
    elif radix == 4:
        _combine4(tile, m, roots)
    elif radix == 5:
        _combine5(tile, m, roots)
    else:
        _combine_any(tile, radix, m, roots)


@inlined
def _divide(tile: FloatArray, radix: int, m: int, roots: FloatArray) -> None:
    """Reduce transforms of length radix * m to transforms of length m: decimation in frequency."""
    if radix == 8:
        _divide8(tile, m, roots)
    elif radix == 4:
        _divide4(tile, m, roots)
    elif radix == 5:
        _divide5(tile, m, roots)
    else:
        _divide_any(tile, radix, m, roots)


@kernel
def _combine8(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for first in range(0, n, 8 * m):  # all twiddle factors are 1
        _put8(tile, first, m, _dft8(_get8(tile, first, m)))
    for j in range(1, m):
        for first in range(j, n, 8 * m):
            _put8(tile, first, m, _dft8(_turn8(_get8(tile, first, m), roots, j * (roots.size // 2 // (8 * m)))))


@kernel
def _combine4(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for first in range(0, n, 4 * m):
        _put4(tile, first, m, _dft4(_get4(tile, first, m)))
    for j in range(1, m):
        for first in range(j, n, 4 * m):
            _put4(tile, first, m, _dft4(_turn4(_get4(tile, first, m), roots, j * (roots.size // 2 // (4 * m)))))


@kernel
def _combine5(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for j in range(m):
        for first in range(j, n, 5 * m):
            _put5(tile, first, m, _dft5(_turn5(_get5(tile, first, m), roots, j * (roots.size // 2 // (5 * m)))))


@kernel
def _combine_any(tile: FloatArray, radix: int, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    room = np.empty(radix * STRIDE, np.float32)
    for j in range(m):
        for first in range(j, n, radix * m):
            for i in range(radix):
                put(room, i, _turn(get(tile, first + i * m), roots, i * j * (roots.size // 2 // (radix * m))))
            for k in range(radix):
                put(tile, first + k * m, _dft(room, radix, k, roots))


@kernel
def _divide8(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for first in range(0, n, 8 * m):
        _put8(tile, first, m, _dft8(_get8(tile, first, m)))
    for j in range(1, m):
        for first in range(j, n, 8 * m):
            _put8(tile, first, m, _turn8(_dft8(_get8(tile, first, m)), roots, j * (roots.size // 2 // (8 * m))))


@kernel
def _divide4(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for first in range(0, n, 4 * m):
        _put4(tile, first, m, _dft4(_get4(tile, first, m)))
    for j in range(1, m):
        for first in range(j, n, 4 * m):
            _put4(tile, first, m, _turn4(_dft4(_get4(tile, first, m)), roots, j * (roots.size // 2 // (4 * m))))


@kernel
def _divide5(tile: FloatArray, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    for j in range(m):
        for first in range(j, n, 5 * m):
            _put5(tile, first, m, _turn5(_dft5(_get5(tile, first, m)), roots, j * (roots.size // 2 // (5 * m))))


@kernel
def _divide_any(tile: FloatArray, radix: int, m: int, roots: FloatArray) -> None:
    n = tile.size // STRIDE
    room = np.empty(radix * STRIDE, np.float32)
    for j in range(m):
        for first in range(j, n, radix * m):
            for i in range(radix):
                put(room, i, get(tile, first + i * m))
            for k in range(radix):
                put(
                    tile,
                    first + k * m,
                    _turn(_dft(room, radix, k, roots), roots, k * j * (roots.size // 2 // (radix * m))),
                )


@inlined
def get(tile: FloatArray, place: int) -> Any:
    """Return the sixteen numbers at a place of a tile."""
    return load(tile, place * STRIDE, place * STRIDE + LANES)


@inlined
def put(tile: FloatArray, place: int, value: Any) -> None:
    """Write sixteen numbers to a place of a tile."""
    store(tile, place * STRIDE, place * STRIDE + LANES, value)


@inlined
def _get4(tile: FloatArray, p: int, m: int) -> Any:
    return get(tile, p), get(tile, p + m), get(tile, p + 2 * m), get(tile, p + 3 * m)


@inlined
def _put4(tile: FloatArray, p: int, m: int, values: Any) -> None:
    a, b, c, d = values
    put(tile, p, a)
    put(tile, p + m, b)
    put(tile, p + 2 * m, c)
    put(tile, p + 3 * m, d)


@inlined
def _get5(tile: FloatArray, p: int, m: int) -> Any:
    a, b, c, d = _get4(tile, p, m)
    return a, b, c, d, get(tile, p + 4 * m)


@inlined
def _put5(tile: FloatArray, p: int, m: int, values: Any) -> None:
    a, b, c, d, e = values
    _put4(tile, p, m, (a, b, c, d))
    put(tile, p + 4 * m, e)


@inlined
def _get8(tile: FloatArray, p: int, m: int) -> Any:
    a, b, c, d = _get4(tile, p, m)
    e, f, g, h = _get4(tile, p + 4 * m, m)
    return a, b, c, d, e, f, g, h


@inlined
def _put8(tile: FloatArray, p: int, m: int, values: Any) -> None:
    a, b, c, d, e, f, g, h = values
    _put4(tile, p, m, (a, b, c, d))
    _put4(tile, p + 4 * m, m, (e, f, g, h))


@inlined
def _turn(value: Any, roots: FloatArray, k: int) -> Any:
    return turned(value, roots[2 * k], roots[2 * k + 1])


@inlined
def _turn4(values: Any, roots: FloatArray, k: int) -> Any:
    a, b, c, d = values
    return a, _turn(b, roots, k), _turn(c, roots, 2 * k), _turn(d, roots, 3 * k)


@inlined
def _turn5(values: Any, roots: FloatArray, k: int) -> Any:
    a, b, c, d, e = values
    b, c = _turn(b, roots, k), _turn(c, roots, 2 * k)
    return a, b, c, _turn(d, roots, 3 * k), _turn(e, roots, 4 * k)


@inlined
def _turn8(values: Any, roots: FloatArray, k: int) -> Any:
    a, b, c, d, e, f, g, h = values
    b, c, d = _turn(b, roots, k), _turn(c, roots, 2 * k), _turn(d, roots, 3 * k)
    e, f, g, h = _turn(e, roots, 4 * k), _turn(f, roots, 5 * k), _turn(g, roots, 6 * k), _turn(h, roots, 7 * k)
    return a, b, c, d, e, f, g, h


@inlined
def _dft4(values: Any) -> Any:
    a, b, c, d = values
    even, odd = a + c, b + d
    rest, turn = a - c, quarter_turned(b - d)
    return even + odd, rest + turn, even - odd, rest - turn


@inlined
def _dft5(values: Any) -> Any:
    a, b, c, d, e = values
    near, far, near_rest, far_rest = b + e, c + d, b - e, c - d
    one = a + stretched(near, _COS_FIFTH, _COS_FIFTH) + stretched(far, _COS_2_FIFTHS, _COS_2_FIFTHS)
    two = a + stretched(near, _COS_2_FIFTHS, _COS_2_FIFTHS) + stretched(far, _COS_FIFTH, _COS_FIFTH)
    one_turn = stretched(near_rest, _SIN_FIFTH, _SIN_FIFTH) + stretched(far_rest, _SIN_2_FIFTHS, _SIN_2_FIFTHS)
    two_turn = stretched(near_rest, _SIN_2_FIFTHS, _SIN_2_FIFTHS) - stretched(far_rest, _SIN_FIFTH, _SIN_FIFTH)
    one_turn, two_turn = quarter_turned(one_turn), quarter_turned(two_turn)
    return a + near + far, one + one_turn, two + two_turn, two - two_turn, one - one_turn


@inlined
def _dft8(values: Any) -> Any:
    a, b, c, d, e, f, g, h = values
    a, c, e, g = _dft4((a, c, e, g))
    b, d, f, h = _dft4((b, d, f, h))
    d, f, h = turned(d, _EIGHTH, -_EIGHTH), quarter_turned(f), turned(h, -_EIGHTH, -_EIGHTH)
    return a + b, c + d, e + f, g + h, a - b, c - d, e - f, g - h


@inlined
def _dft(room: FloatArray, radix: int, k: int, roots: FloatArray) -> Any:
    """Return output k of the transform of `radix` numbers."""
    step = roots.size // 2 // radix * k
    total = get(room, 0)
    for i in range(1, radix):
        total = total + _turn(get(room, i), roots, i * step % (roots.size // 2))
    return total
