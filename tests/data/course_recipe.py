"""Follow the course's preprocessing recipe with its own tools: the oracle for `dataset import-course`."""

from __future__ import annotations

import pickle
from pathlib import Path

import librosa
import numpy as np

SAMPLE_RATE_HZ = 22_050
DURATION_S = 0.74
FRAME_SIZE = 512
HOP_LENGTH = 256


def decibels(path: Path) -> np.ndarray:
    """Load, pad on the right, STFT without the last row, magnitude in dB."""
    signal, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, duration=DURATION_S, mono=True)
    missing = int(SAMPLE_RATE_HZ * DURATION_S) - len(signal)
    if missing > 0:
        signal = np.pad(signal, (0, missing), mode="constant")
    stft = librosa.stft(signal, n_fft=FRAME_SIZE, hop_length=HOP_LENGTH)[:-1]
    return librosa.amplitude_to_db(np.abs(stft))


def preprocess(audio_dir: Path, spectrograms_dir: Path, min_max_pkl: Path, *, protocol: int | None = None) -> None:
    """Write `NAME.wav.npy` for each recording, and the pickle of each array's minimum and maximum."""
    spectrograms_dir.mkdir()
    min_max = {}
    for path in sorted(audio_dir.glob("*.wav")):
        db = decibels(path)
        normalised = (db - db.min()) / (db.max() - db.min()) * (1 - 0) + 0
        save_path = spectrograms_dir / f"{path.name}.npy"
        np.save(save_path, normalised)
        min_max[str(save_path)] = {"min": db.min(), "max": db.max()}
    with min_max_pkl.open("wb") as file:
        pickle.dump(min_max, file, protocol=protocol)
