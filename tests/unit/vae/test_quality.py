from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.presets import preset
from wavemill.vae.package import load_model
from wavemill.vae.training.quality import log_spectral_distance, mean_stoi, measure, sound


def test_a_constant_error_where_it_is_loud_is_the_distance() -> None:
    reference = np.full((1, 8, 5), -90, np.float32)
    reference[0, :, 1:3] = -10
    assert log_spectral_distance(reference, reference)[0] == 0
    assert log_spectral_distance(reference, reference - 6)[0] == pytest.approx(6)


def test_what_lies_below_the_top_does_not_count() -> None:
    reference = np.linspace(-100, 0, 50, dtype=np.float32).reshape(1, 10, 5)
    other = np.where(reference < -50, reference - 20, reference)
    assert log_spectral_distance(reference, other)[0] == 0


def test_half_of_the_bins_wrong_is_a_root_mean_square() -> None:
    reference = np.zeros((1, 8, 3), np.float32)
    other = reference.copy()
    other[:, :4] = -10
    assert log_spectral_distance(reference, other)[0] == pytest.approx(10 / np.sqrt(2))


def test_what_is_measured_is_spread_over_all_that_is_held_out(
    model_dir: Path, spectrograms_db: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Source:
        labels = [{}] * 40

        def read_db(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
            read.append(indices.tolist())
            return spectrograms_db[indices]

    read = []
    monkeypatch.setattr("wavemill.vae.training.quality.MOST_ITEMS", 4)
    figures = measure(load_model(model_dir), Source(), np.arange(1, 32, 2))  # 1, 3, ... 31
    assert read == [[1, 11, 21, 31]]
    assert figures["held_out_spectrograms"] == 4
    assert "stoi_against_inverted_original" not in figures, "30 ms are too short for it"
    measure(load_model(model_dir), Source(), np.array([5, 9]))
    assert read[1] == [5, 9]


def test_inverting_restores_a_chirp_and_its_level() -> None:
    features = preset("digits")
    chirp = 0.3 * librosa.chirp(fmin=200, fmax=3000, sr=8000, length=features.n_samples)
    db = librosa.amplitude_to_db(np.abs(librosa.stft(chirp, n_fft=256, hop_length=64)), top_db=80)[:128]
    again = sound(db[None].astype(np.float32), features)[0]
    assert again.shape == chirp.shape
    assert np.sqrt(np.mean(again**2)) == pytest.approx(np.sqrt(np.mean(chirp**2)), rel=0.02)


def test_intelligibility_falls_with_noise() -> None:
    pytest.importorskip("pystoi")
    rng = np.random.default_rng(0)
    t = np.arange(8000) / 8000
    speech = (np.sin(2 * np.pi * 3 * t) * rng.normal(size=(2, 8000))).astype(np.float32)
    noisy = speech + rng.normal(size=speech.shape).astype(np.float32) * 2
    assert mean_stoi(speech, speech, 8000) == pytest.approx(1, abs=1e-3)
    assert mean_stoi(speech, noisy, 8000) < 0.8
