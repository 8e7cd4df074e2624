"""Reads outputs, and draws their spectrograms. The only module of the light side that needs NumPy and soundfile."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import OutputError
from wavemill.storage.locations import opened

_RANGE_DB = 80.0  # below the loudest point; quieter is black
_N_FFT = 512
_MOST_COLUMNS, _MOST_ROWS = 480, 128  # of a picture, in pixels
# Black over violet and orange to pale yellow: brightness grows evenly, so it reads without colours too.
_ANCHORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def read_bytes(path: str, *, at_most: int) -> bytes | None:
    """Return a file's content; None if it is longer than `at_most` bytes. OutputError if it cannot be read."""
    try:
        with opened(path) as file:
            data = file.read(at_most + 1)
    except Exception as exc:  # each kind of store raises its own errors
        raise OutputError(f"{path} cannot be read: {exc}") from exc
    return data if len(data) <= at_most else None


def copied(path: str, file: IO[bytes]) -> None:
    """Copy a file's content into an open one; OutputError if it cannot be read."""
    try:
        with opened(path) as source:
            shutil.copyfileobj(source, file)
    except Exception as exc:
        raise OutputError(f"{path} cannot be read: {exc}") from exc


def read_sound(path: str) -> tuple[FloatArray, int]:
    """Return the samples, float32 [shape=(samples,)], and their rate in Hz; OutputError if there is no sound."""
    try:
        with opened(path) as file:
            return decoded(file.read(), path)
    except OutputError:
        raise
    except Exception as exc:
        raise OutputError(f"{path} cannot be read: {exc}") from exc


def decoded(data: bytes, name: str) -> tuple[FloatArray, int]:
    """Decode a sound file in memory."""
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as exc:
        raise OutputError(f"{name} is no sound file: {exc}") from exc
    return samples[:, 0], int(rate_hz)


def spectrogram_png(samples: FloatArray) -> bytes:
    """Return a picture of a sound's spectrogram, in dB below its loudest point."""
    level = _levels(samples)  # (rows, columns), 0 to 255
    steps = np.linspace(0, len(_ANCHORS) - 1, 256)
    channels = [np.interp(steps, np.arange(len(_ANCHORS)), channel) for channel in _ANCHORS.T]
    palette = np.stack(channels, axis=1).round().astype(np.uint8)
    return _png(level, palette)


def _levels(samples: FloatArray) -> NDArray[np.uint8]:
    hop = max(_N_FFT // 4, -(-len(samples) // _MOST_COLUMNS))
    padded = np.pad(samples, _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::hop]  # (columns, n_fft)
    power = np.abs(np.fft.rfft(frames * np.hanning(_N_FFT), axis=1)) ** 2  # (columns, bins)
    # (columns, bins) -> (rows, columns), low frequencies at the bottom
    rows = power[:, : _N_FFT // 2].reshape(len(power), _MOST_ROWS, -1).max(axis=2).T[::-1]
    level_db = 10 * np.log10(rows + 1e-12)
    scaled = np.clip((level_db - max(level_db.max(), -60.0)) / _RANGE_DB + 1, 0, 1)
    levels: NDArray[np.uint8] = (255 * scaled).round().astype(np.uint8)
    return levels


def _png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Encode an 8-bit picture with a palette, as https://www.w3.org/TR/png/ says."""
    height, width = pixels.shape
    rows = np.hstack([np.zeros((height, 1), dtype=np.uint8), pixels])  # each row begins with its filter: none
    parts = [
        _part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _part(b"PLTE", palette.tobytes()),
        _part(b"IDAT", zlib.compress(rows.tobytes())),
        _part(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
