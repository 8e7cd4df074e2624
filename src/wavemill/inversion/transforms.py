"""Choose what computes the transforms: SIMD kernels, or SciPy where numba cannot compile them.

The kernels build their vectors from numba's internal types and LLVM code. If a new version of numba
changes these, inversion uses SciPy, which takes longer, and logs a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.inversion import plain
from wavemill.inversion.stft import Stft, stft_for

logger = logging.getLogger(__name__)

TRANSFORMS = ("simd", "scipy")


class Transforms(NamedTuple):
    """The functions that read and write spectra; `wavemill.inversion.tiles` describes the arrays."""

    synthesize: Callable[[Stft, FloatArray, FloatArray], None]
    analyze: Callable[[Stft, FloatArray, FloatArray], None]
    project: Callable[[Stft, FloatArray, FloatArray, FloatArray], None]
    polish: Callable[[Stft, FloatArray, FloatArray, int, np.float32], None]
    polish_once: Callable[[Stft, FloatArray, FloatArray], float]
    search: Callable[[Stft, FloatArray, FloatArray, int, float, np.float32], None]


SCIPY = Transforms(
    synthesize=plain.synthesize,
    analyze=plain.analyze,
    project=plain.project,
    polish=plain.polish,
    polish_once=plain.polish_once,
    search=plain.search,
)


def transforms_named(name: str | None) -> Transforms:
    """Return the functions of "simd" or "scipy"; None means SIMD where it works.

    Raises
    ------
    UsageError
        For another name, and for "simd" where this version of numba cannot compile it.
    """
    if name not in (None, *TRANSFORMS):
        raise UsageError(f"there are no transforms {name!r}; choose one of: {', '.join(TRANSFORMS)}")
    if name == "scipy":
        return SCIPY
    found = _simd()
    if isinstance(found, Transforms):
        return found
    if name == "simd":
        raise UsageError(f"transforms='simd' does not work with this version of numba: {found}; use 'scipy'")
    return SCIPY


@lru_cache(maxsize=1)
def _simd() -> Transforms | Exception:
    try:
        kernels = _kernels()
        _try(kernels)
    except Exception as exc:  # a future version of numba may fail in any way
        logger.warning("numba %s cannot compile the SIMD transforms, SciPy is used: %s", numba.__version__, exc)
        return exc
    return kernels


def _kernels() -> Transforms:
    from wavemill.inversion import griffin_lim, tiles

    return Transforms(
        synthesize=tiles.synthesize,
        analyze=tiles.analyze,
        project=griffin_lim.project,
        polish=griffin_lim.polish,
        polish_once=griffin_lim.polish_once,
        search=griffin_lim.search,
    )


def _try(kernels: Transforms) -> None:
    """Compile what the default method needs, or read it from numba's cache."""
    stft = stft_for(16, 8, 3)
    magnitude = np.ones(stft.n_rows * stft.n_lanes, np.float32)
    folded = np.empty_like(stft.weight)
    kernels.synthesize(stft, np.repeat(magnitude, 2), folded)
    kernels.polish_once(stft, magnitude, folded)
    kernels.polish(stft, magnitude, folded, 1, np.float32(np.inf))
