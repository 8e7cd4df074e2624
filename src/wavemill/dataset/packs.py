"""Packs: many spectrograms in one `.npy` file, for datasets too large for one file per spectrogram.

A pack is a plain array of shape (n, n_bins, n_frames), which `numpy.load` reads too. Its name is a
hash of its content. An item is named by its pack and its number, such as
`spectrograms/0a1b.npy#17`. Reading it gives the same bytes, and so the same SHA-256, as a file of
its own.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavemill.dataset.headers import DTYPE, Shape, npy_header, read_header
from wavemill.dataset.manifest import SPECTROGRAMS_NAME
from wavemill.dataset.placing import place
from wavemill.files.bounded import size_of

_HEADER_BYTES = 128  # the size that NumPy writes for any array of three axes


def write_pack(dataset_dir: Path, arrays: Sequence[NDArray[np.float32]]) -> list[tuple[str, str]]:
    """Write one or more arrays of one shape as a pack; return each item's file and SHA-256."""
    header = npy_header(arrays[0].shape)
    items = [x.astype(DTYPE, copy=False).tobytes() for x in arrays]
    digests = [hashlib.sha256(header + item).hexdigest() for item in items]
    name = hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
    file = f"{SPECTROGRAMS_NAME}/{name}.npy"
    place(dataset_dir, file, b"".join([npy_header((len(items), *arrays[0].shape)), *items]))
    return [(f"{file}#{number}", digest) for number, digest in enumerate(digests)]


def split_name(file: str) -> tuple[str, int]:
    """Return the pack's file and the item's number in it; ValueError if the name has none."""
    pack, separator, number = file.rpartition("#")
    if not (separator and number.isdecimal()):
        raise ValueError(f"{file!r} names no item of a pack")
    return pack, int(number)


def end_of_item(number: int, shape: Shape) -> int:
    """Return the least size in bytes of a pack that holds the item with this number."""
    return _HEADER_BYTES + (number + 1) * math.prod(shape) * DTYPE.itemsize


def read_item(descriptor: int, number: int, shape: Shape) -> bytes:
    """Read one item of an open pack and return it as the bytes of a `.npy` file.

    If the pack is truncated, the bytes are too.

    Raises
    ------
    ValueError
        It is not a pack of this shape, or holds fewer items. The message says what was found.
    """
    count = _count(os.pread(descriptor, _HEADER_BYTES, 0), shape)
    if number >= count:
        raise ValueError(f"a pack of {count}")
    size = math.prod(shape) * DTYPE.itemsize
    start = end_of_item(number, shape) - size
    if start > size_of(descriptor):  # a forged header may promise more than a file can hold
        raise ValueError(f"a pack of {size_of(descriptor)} bytes")
    return npy_header(shape) + os.pread(descriptor, size, start)


@lru_cache(maxsize=64)
def _count(header: bytes, shape: Shape) -> int:
    """Return the number of items in a pack with this header; ValueError if it has another shape."""
    if not header:
        raise ValueError("an empty file")
    file = io.BytesIO(header)
    try:
        found, fortran_order, dtype = read_header(file)
    except ValueError as exc:
        raise ValueError(f"no .npy file ({str(exc).splitlines()[0]})") from exc
    if dtype != DTYPE or fortran_order or len(found) != 1 + len(shape) or found[1:] != shape:
        raise ValueError(f"a pack of {dtype} of shape {found}")
    if file.tell() != _HEADER_BYTES:
        raise ValueError(f"a header of {file.tell()} bytes")
    return int(found[0])
