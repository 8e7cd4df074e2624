"""Compile the numeric loops of this package with numba.

Only this module uses private names of numba. `INTERNALS` lists them, and `pyproject.toml` bounds
numba's version. If numba has no such name any more, kernels still work, but every process compiles
them anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import njit

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# Attributes that lead from a compiled function to the time and size by which numba finds stale code.
INTERNALS = ("_cache", "_cache_file", "_source_stamp")
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
        if not _watch_all_sources(compiled, Path(function.__code__.co_filename)):
            compiled = njit(**_OPTIONS)(function)  # without the cache: slow to start, but never stale
    result: F = compiled
    return result


def _watch_all_sources(compiled: Any, file: Path) -> bool:
    """Make numba recompile a kernel when any file of this package changes; False if that is impossible.

    By itself, numba looks at the kernel's own file, but not at those of the kernels that it calls.
    """
    *path, name = INTERNALS
    for attribute in path:
        compiled = getattr(compiled, attribute, None)
    if not hasattr(compiled, name):
        _say_unknown()
        return False
    setattr(compiled, name, _stamp(file))
    return True


@lru_cache(maxsize=1)
def _say_unknown() -> None:
    logger.warning("wavemill does not know numba %s: each process compiles its machine code anew", numba.__version__)


def _stamp(file: Path) -> tuple[float, int]:
    sources = [path.stat() for path in _SOURCES | {file}]
    return max(source.st_mtime for source in sources), sum(source.st_size for source in sources)


def inlined(function: F) -> F:
    """Compile `function` inline, into each kernel that calls it."""
    compiled: F = njit(forceinline=True, **_OPTIONS)(function)
    return compiled
