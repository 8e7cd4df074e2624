"""Reads the course's pickle of minima and maxima without running any code from it.

A pickle is a program that may call any function it can name. This reader accepts exactly four
names. It replaces each of them by a function of its own, which makes bytes, a number or a number
type. It refuses any other name without looking it up. `wavemill.dataset.pickle_machine` runs the
opcodes in bounded memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from wavemill.dataset.pickle_machine import PickleMachine
from wavemill.errors import DatasetError
from wavemill.files.bounded import NotAFileError, read_file

Range = tuple[float, float]  # min_db, max_db

_MOST_BYTES = 2**23  # size of the file; enough for tens of thousands of recordings
_MOST_LETTERS = 40  # length of a NumPy type's code, or of a number's bytes as text

# NumPy's type codes of real numbers -> the struct module's.
_NUMBER_CODES = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
                 "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}  # fmt: skip


class _NumberType:
    """Stands in for a `numpy.dtype` of one real number."""

    __slots__ = ("byte_order", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self.byte_order = "<"

    def __setstate__(self, state: object) -> None:
        """Set the byte order from a dtype's pickled state: (version, byte order, ...)."""
        if not (isinstance(state, tuple) and len(state) >= 2 and state[1] in ("<", ">", "=", "|")):
            raise DatasetError("it holds a damaged number type")
        self.byte_order = ">" if state[1] == ">" else "<"


class _StandIn:
    """A callable without state, so that a pickle cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise DatasetError("it tries to change a function")


def _make_type(code: object, *_flags: object) -> _NumberType:
    if not isinstance(code, str) or len(code) > _MOST_LETTERS or code.lstrip("<>=|") not in _NUMBER_CODES:
        raise DatasetError(f"expected NumPy numbers, received NumPy values of {_shown_type(code)}")
    return _NumberType(code.lstrip("<>=|"))


def _shown_type(code: object) -> str:
    # Call str() on strings only: the text of nested lists can fill the memory.
    return f"type {code[:_MOST_LETTERS]!r}" if isinstance(code, str) else f"a type that is a {type(code).__name__}"


def _make_number(number_type: object, data: object = None) -> float:
    if not isinstance(number_type, _NumberType) or not isinstance(data, bytes):
        raise DatasetError("expected NumPy numbers, received a NumPy object")
    return float(struct.unpack(number_type.byte_order + _NUMBER_CODES[number_type.code], data)[0])


def _make_bytes(text: object, encoding: object) -> bytes:
    """Stand in for `_codecs.encode`, by which pickle protocols 0 to 2 store bytes."""
    if not isinstance(text, str) or len(text) > _MOST_LETTERS or encoding != "latin1":
        raise DatasetError("expected bytes in latin1")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _make_type,
    ("numpy.core.multiarray", "scalar"): _make_number,
    ("numpy._core.multiarray", "scalar"): _make_number,
    ("_codecs", "encode"): _make_bytes,
}


def _find_name(module_name: str, global_name: str) -> _StandIn:
    try:
        return _StandIn(_STAND_INS[module_name, global_name])
    except KeyError:
        raise DatasetError(
            f"it refers to {module_name[:80]}.{global_name[:80]}, which is refused: only dicts, strings and NumPy "
            "numbers are read from a pickle"
        ) from None


def read_ranges(path: Path) -> dict[str, Range]:
    """Return {path of the .npy file on the course's machine: (min, max)} from the course's pickle.

    Raises
    ------
    DatasetError
        The file is missing, damaged, refers to any code, or is not a dict of paths to {"min": ..., "max": ...}.
    """
    try:
        content = PickleMachine(_find_name).run(read_file(path, most_bytes=_MOST_BYTES))
        if not isinstance(content, dict):
            raise DatasetError(f"expected a dict of paths, received {type(content).__name__}")  # noqa: TRY301
        return {_path(key): _range(key, value) for key, value in content.items()}
    except DatasetError as exc:
        raise DatasetError(f"{path}: {exc}") from exc
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read: {exc.strerror}") from exc
    except NotAFileError as exc:
        raise DatasetError(f"{path} is not a file") from exc
    except Exception as exc:  # a damaged pickle can raise nearly anything
        raise DatasetError(f"{path} is not a pickle, or damaged: {exc}") from exc


def _path(key: object) -> str:
    if not isinstance(key, str):
        raise DatasetError(f"expected paths as keys, received {type(key).__name__}")
    return key


def _range(key: object, value: object) -> Range:
    if isinstance(value, dict):
        least, greatest = value.get("min"), value.get("max")
        if isinstance(least, int | float) and isinstance(greatest, int | float):
            return float(least), float(greatest)
    raise DatasetError(f'expected {{"min": number, "max": number}} for {str(key)[:80]!r}')
