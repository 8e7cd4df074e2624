from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from support.ears import Ear

from wavemill.evaluation.judge import Judge, mean_of_known
from wavemill.presets import PRESETS

DIGITS = PRESETS["digits"]

LABELS = {"digit": ["3", "7"], "speaker": ["anna", "ben"]}
CLIPS = ("7_anna_0.wav", "3_ben_0.wav", "7_clara_0.wav", "3_dan_0.wav")
TRUE = [
    {"digit": "7", "speaker": "anna"},
    {"digit": "3", "speaker": "ben"},
    {"digit": "7", "speaker": "ben"},
    {"digit": "3", "speaker": "clara"},  # whom the ear does not know
]
ANSWERS = (
    {"digit": ("7", 0.9), "speaker": ("anna", 0.8)},
    {"digit": ("7", 0.6), "speaker": ("ben", 0.7)},
    {"digit": ("7", 0.95), "speaker": ("anna", 0.55)},
    {"digit": ("3", 0.7), "speaker": ("ben", 0.6)},
)


@pytest.fixture(scope="module")
def words(clips: Path) -> list[NDArray[np.float32]]:
    return [soundfile.read(clips / name, dtype="float32")[0] for name in CLIPS]


def test_accuracy_is_the_share_of_right_answers_among_those_that_can_be_known(
    words: list[NDArray[np.float32]],
) -> None:
    judge = Judge(Ear(LABELS, *ANSWERS), words, TRUE, DIGITS)
    rendition = judge.judge_truth("recordings")
    assert rendition.figures["digit_accuracy"] == 3 / 4
    assert rendition.figures["speaker_accuracy"] == 2 / 3
    assert rendition.heard["digit"] == ["7", "7", "7", "3"]
    assert rendition.confidence["speaker"] == pytest.approx([0.8, 0.7, 0.55, 0.6])
    assert rendition.scores == {}


def test_what_can_never_be_known_has_no_accuracy_and_what_nobody_labelled_no_row(
    words: list[NDArray[np.float32]],
) -> None:
    strangers = [{"speaker": "eve"}] * 4
    figures = Judge(Ear(LABELS, *ANSWERS), words, strangers, DIGITS).judge_truth("recordings").figures
    assert figures["speaker_accuracy"] is None
    assert "digit_accuracy" not in figures


def test_an_answer_is_neither_right_nor_wrong_where_a_clip_lacks_the_label(words: list[NDArray[np.float32]]) -> None:
    some = [{"digit": "7"}, {"speaker": "ben"}, {"digit": "3", "speaker": "eve"}, {}]
    rendition = Judge(Ear(LABELS, *ANSWERS), words, some, DIGITS).judge_truth("recordings")
    assert rendition.right == {"digit": [True, None, False, None], "speaker": [None, True, False, None]}
    assert (rendition.figures["digit_accuracy"], rendition.figures["speaker_accuracy"]) == (1 / 2, 1)


def test_numbers_are_judged_in_the_ranges_that_the_ear_knows(words: list[NDArray[np.float32]]) -> None:
    ranges = {"pitch": ["36 to 47", "48 to 60"]}
    answers = [{"pitch": (name, 0.9)} for name in ("36 to 47", "48 to 60", "48 to 60", "48 to 60")]
    clips = [{"pitch": 40}, {"pitch": 48.5}, {"pitch": 47}, {"pitch": 99}]
    rendition = Judge(Ear(ranges, *answers), words, clips, DIGITS).judge_truth("recordings")
    assert rendition.figures["pitch_accuracy"] == 2 / 3


def test_sounds_are_measured_against_the_truth_clip_by_clip(words: list[NDArray[np.float32]]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 4_000).astype(np.float32)
    judge = Judge(Ear(LABELS, *ANSWERS), [noise] * 4, TRUE, DIGITS)
    rendition = judge.judge("half", [noise, noise / 2, noise / 2, noise])
    assert rendition.scores["log_spectral_distance_db"] == pytest.approx([0, 6, 6, 0], abs=0.1)
    assert rendition.figures["log_spectral_distance_db"] == pytest.approx(3, abs=0.1)


def test_a_mean_passes_over_what_is_no_number_and_is_none_where_nothing_is_left() -> None:
    assert mean_of_known(np.array([1, np.nan, 3], np.float32)) == 2
    assert mean_of_known(np.array([np.nan], np.float32)) is None


def test_figures_of_silence_among_words_are_json_and_no_better_for_it(words: list[NDArray[np.float32]]) -> None:
    pytest.importorskip("pesq")
    silence = np.zeros(4_000, np.float32)
    truth = [*words[:2], silence, silence]
    kept, muted = (
        Judge(Ear(LABELS, *ANSWERS), truth, TRUE, DIGITS).judge("model", sounds).figures
        for sounds in (truth, [words[0], silence, silence, silence])
    )
    assert kept["pesq_clips"] == muted["pesq_clips"] == 2
    assert kept["pesq"] == pytest.approx(4.55, abs=0.01)
    assert muted["pesq"] == pytest.approx((4.55 + 1) / 2, abs=0.01)
    nothing = Judge(Ear(LABELS, *ANSWERS), [silence] * 4, TRUE, DIGITS).judge("model", [silence] * 4).figures
    assert (nothing["pesq"], nothing["pesq_clips"]) == (None, 0)
    json.dumps([kept, muted, nothing], allow_nan=False)
