from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pytest

from wavemill.arrays import FloatArray

Magnitudes = Callable[..., FloatArray]

RATE_HZ = 8_000
DURATION_SAMPLES = 6_400
# (n_fft, hop_length): both presets, 75 % overlap, and sizes that are no power of two.
GEOMETRIES = [(512, 256), (256, 64), (400, 100), (192, 96), (198, 60)]


@pytest.fixture(params=GEOMETRIES, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def geometry(request: pytest.FixtureRequest) -> dict[str, int]:
    n_fft, hop_length = request.param
    return {"n_fft": n_fft, "hop_length": hop_length}


@pytest.fixture(scope="session")
def signals() -> dict[str, FloatArray]:
    """Sounds of 0.8 s at 8 kHz, peaks near 0.5."""
    time_s = np.arange(DURATION_SAMPLES) / RATE_HZ
    fade = np.hanning(DURATION_SAMPLES)
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * time_s)
    sweep = 0.5 * fade * np.sin(2 * np.pi * (300 * time_s + 1_000 * time_s**2))
    buzz = sum(np.cos(2 * np.pi * 120 * k * time_s) / k for k in range(1, 25)) * fade / 8
    noise = 0.1 * np.random.default_rng(7).standard_normal(DURATION_SAMPLES)
    sounds = {"tone": tone, "sweep": sweep, "buzz": buzz, "noise": noise}
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


@pytest.fixture(scope="session")
def magnitudes() -> Magnitudes:
    """Oracle: librosa's STFT magnitudes, (batch, F, T), of one or several sounds."""

    def of(*sounds: FloatArray, n_fft: int, hop_length: int) -> FloatArray:
        return np.abs(librosa.stft(np.stack(sounds), n_fft=n_fft, hop_length=hop_length)).astype(np.float32)

    return of
