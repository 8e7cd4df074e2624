"""Draws a sound: its waveform and its spectrogram as PNG images, and its peaks as numbers.

A long sound is read a block at a time, so that its length costs time but no memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from wavemill.errors import AudioError

_BLOCK = 2**18  # samples read at a time
_LOUDEST_DB_BELOW = 80.0  # a spectrogram shows this range below its loudest point
_LINE = (63, 124, 191, 255)  # readable on white and on black
_ANCHORS = ("000004", "2c105c", "711f81", "b63679", "ee605e", "fdae78", "fcfdbf")  # from silent to loud


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """The lowest and the highest sample in each of equally long stretches of a sound.

    Attributes
    ----------
    lows, highs : float32 [shape=(bins,)], full scale is 1.0
    """

    lows: NDArray[np.float32]
    highs: NDArray[np.float32]
    sample_rate_hz: int
    duration_s: float


def measure_peaks(file: IO[bytes], bins: int) -> Peaks:
    """Return the peaks of a sound file in `bins` stretches; of fewer, if it has fewer samples."""
    with _sound(file) as sound:
        n_samples, rate_hz = sound.frames, sound.samplerate
        bins = max(1, min(bins, n_samples))
        lows, highs = np.zeros(bins, np.float32), np.zeros(bins, np.float32)
        is_fresh = np.ones(bins, bool)
        position = 0
        for block in _mono_blocks(sound):
            into = (np.arange(position, position + len(block)) * bins // max(n_samples, 1)).clip(0, bins - 1)
            starts = np.flatnonzero(np.diff(into, prepend=-1))
            chosen = into[starts]
            low, high = np.minimum.reduceat(block, starts), np.maximum.reduceat(block, starts)
            lows[chosen] = np.where(is_fresh[chosen], low, np.minimum(lows[chosen], low))
            highs[chosen] = np.where(is_fresh[chosen], high, np.maximum(highs[chosen], high))
            is_fresh[chosen] = False
            position += len(block)
    return Peaks(lows=lows, highs=highs, sample_rate_hz=rate_hz, duration_s=n_samples / rate_hz)


def waveform_png(file: IO[bytes], *, width: int, height: int) -> bytes:
    """Draw a waveform in one colour on a transparent ground."""
    peaks = measure_peaks(file, width)
    columns = np.arange(width) * len(peaks.lows) // width
    middle = (height - 1) / 2
    top = np.floor(middle - np.clip(peaks.highs[columns], -1, 1) * middle)
    bottom = np.ceil(middle - np.clip(peaks.lows[columns], -1, 1) * middle)
    rows = np.arange(height)[:, None]
    pixels = np.zeros((height, width, 4), np.uint8)  # (rows, columns, RGBA)
    pixels[(rows >= top) & (rows <= bottom)] = _LINE
    return _png(Image.fromarray(pixels, "RGBA"))


def spectrogram_png(file: IO[bytes], *, width: int, height: int) -> bytes:
    """Draw a spectrogram: time to the right, frequency upwards, 80 dB from dark to bright."""
    with _sound(file) as sound:
        n_fft = 1024 if sound.samplerate > 16_000 else 512
        frames = np.stack(list(_frames(sound, width, n_fft)))  # (columns, samples)
    power_db = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n_fft), axis=1)) + 1e-7)  # (columns, bins)
    shown = (power_db - power_db.max() + _LOUDEST_DB_BELOW) / _LOUDEST_DB_BELOW
    rows = np.linspace(power_db.shape[1] - 1, 0, height).round().astype(int)  # the highest frequency on top
    pixels = (np.clip(shown, 0, 1)[:, rows].T * 255).astype(np.uint8)  # (rows, columns)
    if power_db.max() < -100:  # nothing but silence
        pixels[:] = 0
    image = Image.fromarray(np.ascontiguousarray(pixels), "P")
    image.putpalette(_palette())
    return _png(image)


def read_start(file: IO[bytes], *, seconds: float) -> tuple[NDArray[np.float32], int]:
    """Return the first seconds of a sound, all channels mixed, and its rate in Hz."""
    with _sound(file) as sound:
        block = sound.read(round(seconds * sound.samplerate), dtype="float32", always_2d=True)
        return np.nan_to_num(block.mean(axis=1)), sound.samplerate


@contextmanager
def _sound(file: IO[bytes]) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except soundfile.SoundFileError as exc:
        raise AudioError(f"this output cannot be read as sound: {exc}") from exc


def _mono_blocks(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    while len(block := sound.read(_BLOCK, dtype="float32", always_2d=True)):
        yield np.nan_to_num(block.mean(axis=1))


def _frames(sound: soundfile.SoundFile, count: int, n_fft: int) -> Iterator[NDArray[np.float32]]:
    """Yield `count` frames whose centres are spread evenly over the sound, with zeros around it."""
    for k in range(count):
        start = round((k + 0.5) * sound.frames / count) - n_fft // 2
        frame = np.zeros(n_fft, np.float32)
        first = max(0, start)
        if first < sound.frames:
            sound.seek(first)
            found = sound.read(n_fft - (first - start), dtype="float32", always_2d=True).mean(axis=1)
            frame[first - start : first - start + len(found)] = np.nan_to_num(found)
        yield frame


def _palette() -> list[int]:
    anchors = np.array([[int(text[i : i + 2], 16) for i in (0, 2, 4)] for text in _ANCHORS])  # (anchors, RGB)
    at = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return [int(value) for value in np.stack(channels, axis=1).round().ravel()]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=False)
    return file.getvalue()
