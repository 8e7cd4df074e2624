"""Compile the numeric loops of this package with numba."""

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
    """Compile `function` at its first call, let it run without the GIL, and cache the code on disk.

    Reassociation is allowed: each clip is processed alone, in loops of the same shape, so its bytes
    do not depend on other clips. `fastmath` does not assume that NaN and infinity are absent. They
    are refused before any kernel runs, but if a bug lets one through, the result is NaN and not
    noise.
    """
    try:
        compiled: Any = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no writable cache folder, as in a read-only container without HOME
        compiled = njit(**_OPTIONS)(function)
    else:
        if compiled is function:  # NUMBA_DISABLE_JIT is set, for debugging
            return function
        compiled._cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename))
    result: F = compiled
    return result


def _stamp(file: Path) -> tuple[float, int]:
    # numba recompiles a kernel when its own file changes, but not when a file of a kernel that it
    # calls does.
    sources = [path.stat() for path in _SOURCES | {file}]
    return max(source.st_mtime for source in sources), sum(source.st_size for source in sources)


def inlined(function: F) -> F:
    """Compile `function` inline, into each kernel that calls it."""
    compiled: F = njit(forceinline=True, **_OPTIONS)(function)
    return compiled
