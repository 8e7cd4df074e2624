from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wavemill.evaluation.fidelity import fidelity, pesq_scores
from wavemill.presets import PRESETS

DIGITS = PRESETS["digits"]


@pytest.fixture(scope="module")
def words(clips: Path) -> list[NDArray[np.float32]]:
    """Two of the shipped clips, 8 kHz."""
    return [soundfile.read(clips / name, dtype="float32")[0] for name in ("7_anna_0.wav", "3_ben_0.wav")]


def test_nothing_lies_between_a_sound_and_itself(words: list[NDArray[np.float32]]) -> None:
    pytest.importorskip("pystoi")
    scores = fidelity(words, words, DIGITS)
    assert scores["log_spectral_distance_db"] == pytest.approx([0, 0])
    assert scores["stoi"] == pytest.approx([1, 1], abs=1e-3)


def test_half_the_amplitude_is_six_decibels_away_and_just_as_intelligible(words: list[NDArray[np.float32]]) -> None:
    pytest.importorskip("pystoi")
    scores = fidelity(words, [word / 2 for word in words], DIGITS)
    # A little less than 6.02: what falls below the 50 dB is limited in both.
    assert np.all(scores["log_spectral_distance_db"] < 6.03)
    assert np.all(scores["log_spectral_distance_db"] > 3)
    assert scores["stoi"] == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_intelligibility_has_no_figure_for_a_click_and_is_zero_for_a_muted_word(
    words: list[NDArray[np.float32]],
) -> None:
    pytest.importorskip("pystoi")
    click, short = np.ones(3, np.float32), words[0][:800]
    scores = fidelity([click, short, words[0]], [click, short, np.zeros_like(words[0])], DIGITS)["stoi"]
    assert np.isnan(scores).tolist() == [True, True, False]
    assert scores[2] == 0


def test_a_loud_stationary_noise_at_half_the_amplitude_is_exactly_six_decibels_away() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8_128).astype(np.float32)
    assert fidelity([noise], [noise / 2], DIGITS)["log_spectral_distance_db"] == pytest.approx([6.02], abs=0.02)


def test_what_is_missing_at_the_end_counts_as_silence(words: list[NDArray[np.float32]]) -> None:
    short = [word[: len(word) // 2] for word in words]
    padded = [
        np.concatenate([half, np.zeros(len(w) - len(half), np.float32)]) for half, w in zip(short, words, strict=True)
    ]
    cut, silent = fidelity(words, short, DIGITS), fidelity(words, padded, DIGITS)
    assert cut["log_spectral_distance_db"].tolist() == silent["log_spectral_distance_db"].tolist()
    assert np.all(cut["log_spectral_distance_db"] > 4)


def test_pesq_is_highest_for_the_same_sound_falls_with_noise_and_is_least_for_silence(
    words: list[NDArray[np.float32]],
) -> None:
    if "CI" not in os.environ:
        pytest.importorskip("pesq")
    rng = np.random.default_rng(1)
    noisy = words[0] + rng.normal(0, 0.05, len(words[0])).astype(np.float32)
    same, worse, silent = fidelity([words[0]] * 3, [words[0], noisy, np.zeros_like(words[0])], DIGITS)["pesq"]
    assert same == pytest.approx(4.55, abs=0.01)
    assert worse < 3
    assert silent == 1


def test_pesq_leaves_out_clips_whose_reference_holds_no_speech(words: list[NDArray[np.float32]]) -> None:
    if "CI" not in os.environ:
        pytest.importorskip("pesq")
    silence, click = np.zeros(4_000, np.float32), np.zeros(4_000, np.float32)
    click[100] = 0.5
    short = words[0][:300]
    scores = pesq_scores([silence, short, words[0]], [silence + 0.1, short, click])
    assert scores is not None
    assert np.isnan(scores[:2]).all()
    assert 1 <= scores[2] < 2
