"""Reads one spectrogram from a dataset, and refuses a file that does not match the index."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from wavemill.dataset.files import OutsideDatasetError, require_dataset_there
from wavemill.dataset.headers import DTYPE, npy_header, read_header
from wavemill.dataset.index import Dataset, Entry
from wavemill.dataset.packs import read_item, split_name
from wavemill.errors import (
    SilentSpectrogramError,
    SpectrogramError,
    UnknownSpectrogramError,
    WavemillError,
)
from wavemill.files.bounded import NotAFileError, TooLargeError, read_opened
from wavemill.storage.errors import classified, is_missing

REBUILD = "build the dataset again: wavemill dataset build"
_HEADER_BYTES = 2**16  # the largest header of a .npy file


def read_spectrogram(dataset: Dataset, entry: Entry) -> NDArray[np.float32]:
    """Read and check the normalised spectrogram of `entry`.

    Parameters
    ----------
    dataset : Dataset
    entry : Entry
        From `dataset.get` or `dataset.get_many`.

    Returns
    -------
    float32 [shape=dataset.shape_of(entry)], in [0, 1]

    Raises
    ------
    UnknownSpectrogramError
        The file is gone, although the dataset's folder is there.
    SpectrogramError
        The file is damaged, pickled, of another shape or type, holds NaN or values outside [0, 1], lies outside the
        dataset's folder, or has changed since the dataset was built.
    SilentSpectrogramError
        Every value is the same.
    StorageUnavailableError
        The disk does not answer, or the dataset's folder is gone.
    """
    name, shape = entry.spectrogram_id, dataset.shape_of(entry)
    data = _read(dataset, entry)
    x = _parse_usual(data, shape)
    if x is None:
        x = _parse_odd(data, name=name, shape=shape)
    check_values(x, name=name)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise SpectrogramError(f"{name}: its file has changed since the dataset was built; {REBUILD}")
    return x


def _parse_usual(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Parse a file in the form that the builder writes, or its older column-major form; else None.

    Compares the header with the expected bytes, since NumPy takes longer to parse a header than all
    checks of the numbers take together.
    """
    for fortran_order in (False, True):
        header = npy_header(shape, fortran_order=fortran_order)
        if data.startswith(header) and len(data) == len(header) + math.prod(shape) * DTYPE.itemsize:
            return np.frombuffer(data, DTYPE, offset=len(header)).reshape(shape, order="F" if fortran_order else "C")
    return None


def _parse_odd(data: bytes, *, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Parse any other array of that shape, or raise SpectrogramError."""
    x = parse_array(data, name=name, shapes=(shape,))
    if x.dtype != np.float32:
        raise SpectrogramError(f"{name}: expected float32, received {x.dtype}; {REBUILD}")
    return np.asarray(x, dtype=np.float32)


def parse_array(
    data: bytes, *, name: str, shapes: tuple[tuple[int, ...], ...], advice: str = REBUILD
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Parse the bytes of a `.npy` file that should hold floats in one of `shapes`; SpectrogramError if not.

    Type, shape and size are checked before any number is read, so that a forged header cannot make
    NumPy reserve memory, and a pickled array is refused by its type.
    """
    expected = " or ".join(f"{shape}" for shape in shapes)
    file = io.BytesIO(data)
    try:
        shape, fortran_order, dtype = read_header(file)
    except ValueError as exc:
        problem = "an empty file" if not data else f"no .npy file ({str(exc).splitlines()[0]})"
        raise SpectrogramError(
            f"{name}: expected a float array of shape {expected}, received {problem}; {advice}"
        ) from exc
    if dtype.hasobject:
        raise SpectrogramError(f"{name}: expected numbers, received a pickled array, which is never loaded; {advice}")
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or shape not in shapes:
        raise SpectrogramError(
            f"{name}: expected float32 of shape {expected}, received {dtype} of shape {shape}; {advice}"
        )
    numbers = data[file.tell() :]
    if len(numbers) != math.prod(shape) * dtype.itemsize:
        raise SpectrogramError(
            f"{name}: expected {math.prod(shape) * dtype.itemsize} bytes of numbers, received {len(numbers)}: "
            f"the file is truncated or overwritten; {advice}"
        )
    return np.frombuffer(numbers, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")


def check_values(x: NDArray[np.float32] | NDArray[np.float64], *, name: str, advice: str = REBUILD) -> None:
    """Raise SpectrogramError unless every value is finite and in [0, 1], and they differ."""
    least, greatest = float(x.min()), float(x.max())  # NaN if any value is NaN
    if not (math.isfinite(least) and math.isfinite(greatest)):
        raise SpectrogramError(f"{name}: expected values in [0, 1], received NaN or infinity; {advice}")
    if least < 0.0 or greatest > 1.0:
        raise SpectrogramError(f"{name}: expected values in [0, 1], received {least:.6g} to {greatest:.6g}; {advice}")
    if least == greatest:
        raise SilentSpectrogramError(
            f"{name}: expected sound, received silence: every value is {least:.6g}; leave this recording out"
        )


def most_bytes(*shapes: tuple[int, ...]) -> int:
    """Return the largest size in bytes of a `.npy` file of floats in one of `shapes`."""
    return _HEADER_BYTES + max(math.prod(shape) for shape in shapes) * np.dtype(np.float64).itemsize


def _read(dataset: Dataset, entry: Entry) -> bytes:
    """Return the bytes of the entry's `.npy` file; an item of a pack is returned as such a file.

    If the file is missing but the dataset is there, look once more: the dataset's disk may have
    been mounted again in the meantime.
    """
    try:
        return _read_once(dataset, entry)
    except UnknownSpectrogramError:
        dataset.files.forget()
        require_dataset_there(dataset.path)
    try:
        return _read_once(dataset, entry)
    except UnknownSpectrogramError:
        require_dataset_there(dataset.path)
        raise


def _read_once(dataset: Dataset, entry: Entry) -> bytes:
    with reading_errors(entry):
        if dataset.manifest.packed:
            return _read_packed(dataset, entry)
        with dataset.files.opened(entry.file) as descriptor:
            return read_opened(descriptor, most_bytes=most_bytes(dataset.shape_of(entry)))


@contextmanager
def reading_errors(entry: Entry) -> Iterator[None]:
    """Turn the errors of opening and reading an entry's file into wavemill's errors."""
    name = entry.spectrogram_id
    try:
        yield
    except OutsideDatasetError as exc:
        raise SpectrogramError(f"{name}: its file {entry.file!r} lies outside the dataset; {REBUILD}") from exc
    except NotAFileError as exc:
        raise SpectrogramError(f"{name}: expected a file, received a folder or device; {REBUILD}") from exc
    except TooLargeError as exc:
        raise SpectrogramError(f"{name}: its file is not a spectrogram: {exc}; {REBUILD}") from exc
    except (RuntimeError, ValueError) as exc:  # a loop of symbolic links; a name that no file can have
        raise SpectrogramError(f"{name}: its file cannot be read: {exc}") from exc
    except OSError as exc:
        raise _unread(entry, exc) from exc


def _unread(entry: Entry, exc: OSError) -> WavemillError:
    if is_missing(exc):
        return UnknownSpectrogramError(f"{entry.spectrogram_id}: its file {entry.file} is gone; {REBUILD}")
    return classified(f"{entry.spectrogram_id}: its file cannot be read", exc, permanent=SpectrogramError)


def _read_packed(dataset: Dataset, entry: Entry) -> bytes:
    pack, number = split_name(entry.file)
    shape = dataset.shape_of(entry)
    with dataset.files.opened(pack) as descriptor:
        try:
            return read_item(descriptor, number, shape)
        except ValueError as exc:
            raise SpectrogramError(
                f"{entry.spectrogram_id}: expected item {number} of a pack of float32 of shape {shape}, "
                f"received {exc}; {REBUILD}"
            ) from exc
