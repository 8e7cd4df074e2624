from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import librosa
import numpy as np
import pytest

from wavemill.inversion import invert
from wavemill.presets import preset

RECORDINGS = sorted(Path(str(files("wavemill") / "demo")).glob("*.wav"))[:6]


def distance_db(waveform, sound, n_fft):
    """How far a waveform's spectrogram is from the recording's, on a grid finer than the one it was made from."""
    wanted, found = (np.abs(librosa.stft(y, n_fft=n_fft, hop_length=n_fft // 16)) for y in (sound, waveform))
    return 20 * np.log10(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("name", ["course", "digits"])
@pytest.mark.parametrize("method", ["pghi+gl", "fine"])
def test_speech_comes_nearer_to_the_recording_than_by_librosas_griffin_lim(name, method):
    features = preset(name)
    geometry = {"n_fft": features.n_fft, "hop_length": features.hop_length, "length": features.n_samples}
    ours, librosas = [], []
    for path in RECORDINGS:
        sound = librosa.load(path, sr=features.sample_rate_hz)[0][: features.n_samples]
        sound = np.pad(sound, (0, features.n_samples - sound.size))
        wanted = np.abs(librosa.stft(sound, n_fft=features.n_fft, hop_length=features.hop_length))
        ours.append(distance_db(invert(wanted[None], **geometry, method=method)[0], sound, features.n_fft))
        by_librosa = librosa.griffinlim(wanted, **geometry, n_iter=32, random_state=0)
        librosas.append(distance_db(by_librosa, sound, features.n_fft))
    assert len(ours) == 6
    assert np.mean(ours) < np.mean(librosas) - 1
