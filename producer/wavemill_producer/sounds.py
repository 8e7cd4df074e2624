"""Reads outputs as files and as samples."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import soundfile

from wavemill.arrays import FloatArray
from wavemill.errors import OutputError
from wavemill.storage.locations import opened


@contextmanager
def _reading(path: str) -> Iterator[IO[bytes]]:
    """Open a file; OutputError if it cannot be opened or read."""
    try:
        with opened(path) as file:
            yield file
    except OutputError:
        raise
    except Exception as exc:  # each kind of store raises its own errors
        raise OutputError(f"{path} cannot be read: {exc}") from exc


def read_bytes(path: str, *, at_most: int) -> bytes | None:
    """Return a file's content; None if it is longer than `at_most` bytes. OutputError if it cannot be read."""
    with _reading(path) as file:
        data = file.read(at_most + 1)
    return data if len(data) <= at_most else None


def copied(path: str, file: IO[bytes]) -> None:
    """Copy a file's content into an open one; OutputError if it cannot be read."""
    with _reading(path) as source:
        shutil.copyfileobj(source, file)


def read_sound(path: str) -> tuple[FloatArray, int]:
    """Return the samples, float32 [shape=(samples,)], and their rate in Hz; OutputError if there is no sound."""
    with _reading(path) as file:
        return decoded(file.read(), path)


def decoded(data: bytes, name: str) -> tuple[FloatArray, int]:
    """Decode a sound file in memory."""
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as exc:
        raise OutputError(f"{name} is no sound file: {exc}") from exc
    return samples[:, 0], int(rate_hz)
