"""How the numeric loops of this package are compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


_SOURCES = frozenset(Path(__file__).parent.glob("*.py"))


def kernel(function: F) -> F:
    """Compile `function` at its first call, without the GIL, and keep the machine code on disk.

    Reassociation is allowed: a clip always meets the same loop with the same shape, so its bytes do not
    depend on the clips around it. NaN and infinity are refused before any kernel runs, yet kept out of
    `fastmath`, so that a mistake upstream shows as NaN and not as noise.
    """
    try:
        compiled: Any = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba finds no folder to write to: a read-only container without a home
        compiled = njit(**_OPTIONS)(function)
    else:
        if compiled is function:  # NUMBA_DISABLE_JIT, for somebody who looks for a mistake
            return function
        compiled._cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename))
    result: F = compiled
    return result


def _stamp(file: Path) -> tuple[float, int]:
    # numba compiles a kernel again when its own file has changed, and not for those of the kernels it calls.
    sources = [path.stat() for path in _SOURCES | {file}]
    return max(source.st_mtime for source in sources), sum(source.st_size for source in sources)


def inlined(function: F) -> F:
    """Compile `function` into each kernel that calls it."""
    compiled: F = njit(forceinline=True, **_OPTIONS)(function)
    return compiled
