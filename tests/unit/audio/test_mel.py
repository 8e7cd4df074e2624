from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.optimize
from pystoi import stoi

from wavemill.audio.features import extract, pad_or_cut, to_magnitude
from wavemill.audio.load import load_recording
from wavemill.audio.mel import mel_bank
from wavemill.errors import UsageError
from wavemill.inversion import invert
from wavemill.presets import preset

FEATURES = preset("digits-mel")
N_ROWS = FEATURES.n_fft // 2 + 1


def oracle(n_bands: int = FEATURES.n_bins) -> np.ndarray:
    """librosa's filters, each scaled to a sum of 1."""
    filters = librosa.filters.mel(sr=8_000, n_fft=256, n_mels=n_bands, norm=None, dtype=np.float64)
    return filters / filters.sum(axis=1, keepdims=True)


def speech(name: str) -> np.ndarray:
    """One of the shipped clips, as long as it is."""
    return load_recording(Path(str(files("wavemill") / "demo")) / f"{name}.wav", FEATURES).signal


def spectrogram(signal: np.ndarray) -> np.ndarray:
    return extract(pad_or_cut(signal, FEATURES.n_samples), FEATURES)


def sound(db: np.ndarray) -> np.ndarray:
    magnitude = to_magnitude(db[None], FEATURES)
    return invert(magnitude, n_fft=256, hop_length=64, length=FEATURES.n_samples)[0]


def test_the_filters_are_those_of_librosa() -> None:
    np.testing.assert_allclose(mel_bank(FEATURES).gather.toarray(), oracle(), atol=1e-6)


@pytest.mark.parametrize(("rate_hz", "n_fft", "n_bands"), [(8_000, 256, 80), (44_100, 2_048, 128)])
def test_the_lowest_and_the_highest_row_lie_in_no_band(rate_hz: int, n_fft: int, n_bands: int) -> None:
    bank = mel_bank(replace(FEATURES, sample_rate_hz=rate_hz, n_fft=n_fft, n_bins=n_bands))
    received = bank.gather.toarray().sum(axis=0)
    assert (received[0], received[-1]) == (0, 0)
    assert (received[1:-1] > 0).all()


def test_a_log_mel_spectrogram_has_the_numbers_of_librosa() -> None:
    signal = pad_or_cut(speech("7_anna_0"), FEATURES.n_samples)
    bands = oracle() @ np.abs(librosa.stft(signal, n_fft=256, hop_length=64))
    expected = librosa.amplitude_to_db(bands, top_db=80.0)
    db = extract(signal, FEATURES)
    assert (db.shape, db.dtype) == ((80, 128), np.float32)
    np.testing.assert_allclose(db, expected, atol=1e-3)
    assert db.max() - db.min() == pytest.approx(80.0, abs=1e-4)


def test_white_noise_has_the_same_decibels_in_bands_as_in_the_rows_of_the_stft() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, FEATURES.n_samples).astype(np.float32)
    rows = extract(noise, preset("digits"))
    assert np.mean(spectrogram(noise)[10:]) == pytest.approx(np.mean(rows[10:]), abs=1.0)


def test_magnitudes_are_not_negative_and_have_the_bands_that_were_asked_for() -> None:
    db = spectrogram(speech("7_anna_0"))
    magnitude = to_magnitude(db, FEATURES)
    assert (magnitude.shape, magnitude.dtype) == ((N_ROWS, 128), np.float32)
    assert (magnitude >= 0).all()
    again = librosa.amplitude_to_db(oracle() @ magnitude, amin=1e-6, top_db=None)
    heard = db > db.max() - 50
    assert np.sqrt(np.mean((again - db)[heard] ** 2)) < 1.0


def test_magnitudes_fit_nearly_as_well_as_those_of_an_exact_solver_and_are_nearer_to_the_truth() -> None:
    signal = pad_or_cut(speech("3_ben_0"), FEATURES.n_samples)
    truth = np.abs(librosa.stft(signal, n_fft=256, hop_length=64))
    bands = oracle() @ truth
    frames = np.argsort(bands.sum(axis=0))[-20:]  # the loudest
    exact = np.stack([scipy.optimize.nnls(oracle(), bands[:, t])[0] for t in frames], axis=1)
    ours = mel_bank(FEATURES).magnitudes(bands.astype(np.float32))[:, frames]

    def distance(magnitude: np.ndarray) -> float:
        return float(np.linalg.norm(magnitude - truth[:, frames]) / np.linalg.norm(truth[:, frames]))

    assert np.linalg.norm(oracle() @ ours - bands[:, frames]) < 0.05 * np.linalg.norm(bands[:, frames])
    assert distance(ours) < distance(exact)


def test_a_clip_has_the_same_bytes_alone_and_among_others() -> None:
    clips = np.stack([spectrogram(speech(name)) for name in ("0_anna_0", "1_ben_0", "9_ben_0", "4_dan_0", "3_dan_0")])
    together = to_magnitude(clips, FEATURES)
    backwards = to_magnitude(np.ascontiguousarray(clips[::-1]), FEATURES)[::-1]
    for k, clip in enumerate(clips):
        alone = to_magnitude(clip[None], FEATURES)[0]
        np.testing.assert_array_equal(alone, together[k])
        np.testing.assert_array_equal(alone, backwards[k])
        np.testing.assert_array_equal(alone, to_magnitude(clip, FEATURES))


@pytest.mark.parametrize("name", ["7_anna_0", "1_ben_0", "0_clara_0"])
def test_speech_comes_back_intelligible_and_at_its_level(name: str) -> None:
    signal = speech(name)
    made = sound(spectrogram(signal))[: signal.size]
    assert stoi(np.tile(signal, 3), np.tile(made, 3), 8_000) > 0.96
    level_db = 10 * np.log10(np.mean(made**2) / np.mean(signal**2))
    assert level_db == pytest.approx(0, abs=0.3)


def test_the_level_follows_the_spectrogram_exactly() -> None:
    db = spectrogram(speech("7_anna_0"))
    np.testing.assert_allclose(to_magnitude(db - np.float32(20), FEATURES), to_magnitude(db, FEATURES) / 10, rtol=1e-3)


@pytest.mark.parametrize("db", [-100.0, -2_000.0, 60.0])
def test_a_constant_spectrogram_stays_finite(db: float) -> None:
    magnitude = to_magnitude(np.full(FEATURES.shape, db, np.float32), FEATURES)
    assert np.isfinite(magnitude).all()
    expected = np.full(N_ROWS - 2, 10 ** (db / 20))
    np.testing.assert_allclose(magnitude[1:-1, 64], expected, rtol=1e-4, atol=1e-30)
    assert not magnitude[[0, -1]].any()


def test_more_bands_than_the_transform_can_fill_are_refused() -> None:
    with pytest.raises(UsageError, match="200 mel bands are too many for n_fft 256 at 8000 Hz"):
        mel_bank(replace(FEATURES, n_bins=200))
