"""Reads recordings, and computes spectrograms, in blocks: hours of sound in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import librosa
import numpy as np
import soxr

from wavemill.arrays import FloatArray
from wavemill.audio.features import bands_of, to_db
from wavemill.audio.load import power_of, require_plausible, require_sound, sound_errors
from wavemill.audio.streams import open_sound
from wavemill.presets import Features

_READ_FRAMES = 2**18  # of a file, at a time
_BLOCK_FRAMES = 2_048  # of a spectrogram


class BlockReader:
    """A recording, or a part of it, as mono blocks at another sample rate, in the same form as `load_recording`.

    Attributes
    ----------
    native_rate_hz, channels, n_samples : int
        Of the file, and the number of samples at the new rate; known at the end.
    peak : float
        Highest absolute sample at the new rate; known at the end.
    """

    def __init__(self, path: Path, sample_rate_hz: int, *, start_s: float = 0.0, length_s: float | None = None) -> None:
        self._path = path
        self._start_s, self._length_s = start_s, length_s
        self._sample_rate_hz = sample_rate_hz
        self.native_rate_hz = self.channels = self.n_samples = 0
        self.peak = 0.0

    def __iter__(self) -> Iterator[FloatArray]:
        """Yield float32 (samples,); AudioError if the file cannot be read or its channels cancel each other."""
        resampled = self._resampled(self._mono())
        for block in resampled:
            self.n_samples += len(block)
            self.peak = max(self.peak, float(np.abs(block).max(initial=0)))
            yield block

    def _mono(self) -> Iterator[FloatArray]:
        powers = np.zeros(2)
        with sound_errors(self._path.name), open_sound(self._path) as sound:
            self.native_rate_hz, self.channels = sound.samplerate, sound.channels
            sound.go_to(round(self._start_s * sound.samplerate))
            left = sound.frames if self._length_s is None else int(self._length_s * sound.samplerate)
            while len(native := sound.read_start(min(_READ_FRAMES, left))):
                left -= len(native)
                require_plausible(native, name=self._path.name)
                mono = np.asarray(native.mean(axis=1), np.float32)  # (samples, channels) -> (samples,)
                powers += len(native) * np.array([power_of(mono), power_of(native)])
                yield mono
        require_sound(powers[0], powers[1], name=self._path.name)

    def _resampled(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        stream = None
        for block in blocks:
            if self.native_rate_hz == self._sample_rate_hz:
                yield block
                continue
            stream = stream or soxr.ResampleStream(self.native_rate_hz, self._sample_rate_hz, 1, quality="HQ")
            yield np.asarray(stream.resample_chunk(block), np.float32)
        if stream is not None:
            yield np.asarray(stream.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


def spectrogram_blocks(
    signal: Iterable[FloatArray], features: Features, *, n_frames_of: Callable[[int], int]
) -> Iterator[FloatArray]:
    """Compute a spectrogram in dB re 1.0 of a signal that comes in blocks, without a limit of its range.

    Parameters
    ----------
    signal : iterable of float32 [shape=(samples,)]
    features : Features
    n_frames_of : callable
        Given the number of samples, returns the number of frames; the rest is padded with zeros.

    Yields
    ------
    float32 [shape=(n_bins, frames)], in dB, >= -100
    """
    hop_length, n_fft = features.hop_length, features.n_fft
    waiting, n_samples, n_done = np.zeros(n_fft // 2, np.float32), 0, 0
    for block in signal:
        n_samples += len(block)
        waiting = np.concatenate([waiting, block])
        n_ready = (len(waiting) - n_fft) // hop_length + 1 if len(waiting) >= n_fft else 0
        if n_ready >= _BLOCK_FRAMES:
            yield from _computed(waiting, n_ready, features)
            waiting, n_done = waiting[n_ready * hop_length :], n_done + n_ready
    n_left = n_frames_of(n_samples) - n_done
    needed = (n_left - 1) * hop_length + n_fft
    yield from _computed(np.pad(waiting, (0, max(0, needed - len(waiting)))), n_left, features)


def _computed(signal: FloatArray, n_frames: int, features: Features) -> Iterator[FloatArray]:
    for first in range(0, n_frames, _BLOCK_FRAMES):
        count = min(_BLOCK_FRAMES, n_frames - first)
        start = first * features.hop_length
        part = signal[start : start + (count - 1) * features.hop_length + features.n_fft]
        spectrum = librosa.stft(part, n_fft=features.n_fft, hop_length=features.hop_length, center=False)
        yield to_db(bands_of(spectrum, features))
