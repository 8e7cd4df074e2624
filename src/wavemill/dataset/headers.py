"""Writes and reads the headers of `.npy` files."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy

Shape = tuple[int, ...]

DTYPE = np.dtype("<f4")
# NumPy parses headers with `ast`, which sometimes fails in Python 3.11 if two threads use it at
# once ("AST constructor recursion depth mismatch", python/cpython#106905).
_reading = threading.Lock()


@lru_cache(maxsize=64)
def npy_header(shape: Shape, *, fortran_order: bool = False) -> bytes:
    """Return the header of a `.npy` file of float32 in this shape."""
    file = io.BytesIO()
    content = {"descr": npy.dtype_to_descr(DTYPE), "fortran_order": fortran_order, "shape": shape}
    npy.write_array_header_1_0(file, content)
    return file.getvalue()


def read_header(file: io.BytesIO) -> tuple[Shape, bool, np.dtype[Any]]:
    """Return shape, order (True: column-major) and type, and leave `file` where the numbers begin.

    Raises ValueError if there is no valid header.
    """
    try:
        version = npy.read_magic(file)
        with _reading:
            return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    except Exception as exc:  # a forged header can raise nearly anything
        raise ValueError(str(exc) or type(exc).__name__) from exc
