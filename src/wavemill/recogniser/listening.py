"""The recogniser's input: log-mel pictures of fixed size, independent of the waveform's level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import librosa
import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.features import pad_or_cut
from wavemill.presets import Features

_MOST_FRAMES = 400  # in a picture


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Parameters of log-mel pictures; the defaults suit single words of up to one second."""

    sample_rate_hz: int = 8_000
    n_samples: int = 8_128  # a sound is cut or zero-padded on the right to this length
    n_fft: int = 256
    hop_length: int = 80
    n_bands: int = 40
    range_db: float = 50.0  # below the loudest point; microphone noise further down would reveal the speaker

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one picture: (n_bands, n_frames)."""
        return self.n_bands, 1 + self.n_samples // self.hop_length

    @classmethod
    def suited_to(cls, features: Features) -> Self:
        """Return parameters for sounds of these features: about 100 frames/s, and a band for each 100 Hz up to 80."""
        rate_hz = features.sample_rate_hz
        return cls(
            sample_rate_hz=rate_hz,
            n_samples=features.n_samples,
            n_fft=2 ** round(math.log2(rate_hz * 0.032)),
            hop_length=max(rate_hz // 100, features.n_samples // _MOST_FRAMES),
            n_bands=min(rate_hz // 200, 80),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)

    def pictures(self, signals: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Return the log-mel pictures of sounds.

        Parameters
        ----------
        signals : sequence of float32 [shape=(samples,)]
        sample_rate_hz : int > 0
            Rate of the signals; they are resampled if it differs from the recogniser's.

        Returns
        -------
        float32 [shape=(batch, n_bands, n_frames)], in [0, 1]
            1 is the sound's loudest point, 0 is `range_db` or more below it; all zeros for silence.
        """
        return np.stack([self._picture(signal, sample_rate_hz) for signal in signals])

    def _picture(self, signal: FloatArray, sample_rate_hz: int) -> FloatArray:
        if sample_rate_hz != self.sample_rate_hz and signal.size:
            signal = librosa.resample(signal, orig_sr=sample_rate_hz, target_sr=self.sample_rate_hz)
        power = librosa.feature.melspectrogram(
            y=pad_or_cut(signal, self.n_samples),
            sr=self.sample_rate_hz,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_bands,
        )  # (samples,) -> (M, T)
        loudest = float(power.max())
        if loudest <= 0:
            return np.zeros(self.shape, np.float32)
        db = 10 * np.log10(np.maximum(power / loudest, 1e-12))
        return np.asarray(np.clip(db / self.range_db + 1, 0, 1), np.float32)
