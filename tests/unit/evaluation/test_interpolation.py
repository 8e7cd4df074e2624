from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.ears import Ear, heard

from wavemill.dataset.index import Dataset
from wavemill.evaluation.clips import Clips, split
from wavemill.evaluation.interpolation import (
    STEPS,
    are_sound,
    draw_pairs,
    ends_right,
    interpolation_figures,
    jumps,
    levels_db,
    summary,
    way_sounds,
)
from wavemill.evaluation.judge import Rendition
from wavemill.synthesis.from_model import SourceClip, reconstruct
from wavemill.vae.package import load_model
from wavemill.vae.training.held_out import HeldOut


def test_pairs_are_seeded_and_of_different_clips() -> None:
    pairs = draw_pairs(10, 200)
    assert pairs.shape == (200, 2)
    assert np.all(pairs[:, 0] != pairs[:, 1])
    assert set(pairs.ravel()) == set(range(10))
    assert np.array_equal(pairs, draw_pairs(10, 200))
    assert len(draw_pairs(1, 5)) == len(draw_pairs(10, 0)) == 0


def test_levels_are_those_of_known_sounds() -> None:
    tone = np.sin(2 * np.pi * np.arange(8_000) / 8).astype(np.float32)
    levels = levels_db([tone, tone / 10, np.zeros(100, np.float32), np.zeros(0, np.float32)])
    assert levels == pytest.approx([-3.01, -23.01, -200, -200], abs=0.01)


def test_a_step_is_sound_within_three_decibels_of_what_lies_between_the_ends() -> None:
    levels = np.array([[-30, -32.9, -25, -17.1, -20], [-20, -33.1, -16.9, -200, -30], [-70, -66, -66, -66, -70]])
    assert are_sound(levels).tolist() == [[True] * 5, [True, False, False, False, True], [False] * 5]


def way(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[None, :, None, None] * np.ones((1, 1, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("values", "jump"),
    [((0, 0.25, 0.5, 0.75, 1), 0.25), ((0, 0, 0, 0, 1), 1), ((0, 0.9, 0.1, 1, 1), 0.9), ((0.5,) * 5, 0)],
)
def test_a_jump_is_a_share_of_the_way(values: tuple[float, ...], jump: float) -> None:
    assert jumps(way(*values)) == pytest.approx([jump])


def test_leaving_a_sound_and_coming_back_to_it_is_a_jump_without_end() -> None:
    assert jumps(way(0.5, 0.5, 0.9, 0.5, 0.5)).tolist() == [np.inf]
    figures = summary(right=[(True, True)], sound=np.ones((1, 5), bool), jumped=np.array([np.inf], np.float32))
    assert figures["whole"] == 0
    assert np.isfinite(figures["largest_jump_median"])


def test_an_end_counts_where_the_plain_reconstruction_is_heard_right() -> None:
    labels = [{"digit": "7"}, {"digit": "3"}, {"digit": "5"}]
    plain = {"digit": ["7", "3", "9"]}
    pairs = np.array([[0, 1], [1, 0], [2, 0]])
    ends = [({"digit": "7"}, {"digit": "3"}), ({"digit": "8"}, {"digit": "7"}), ({"digit": "9"}, {"digit": "7"})]
    assert ends_right(pairs, ends, labels, plain) == [(True, True), (False, True), (None, True)]
    assert ends_right(pairs, ends, labels, {}) == [(None, None)] * 3


def test_a_pair_is_whole_with_right_ends_sound_steps_and_no_leap() -> None:
    sound = np.ones((4, 5), bool)
    sound[1, 2] = False
    figures = summary(
        right=[(True, True), (True, None), (False, True), (None, True)],
        sound=sound,
        jumped=np.array([0.3, 0.3, 0.3, 5], np.float32),
    )
    assert figures == {
        "pairs": 4,
        "steps": 5,
        "ends_judged": 6,
        "ends_right": 5 / 6,
        "steps_sound": 19 / 20,
        "largest_jump_median": pytest.approx(0.3),
        "whole": 1 / 4,
    }


def test_a_models_ways_begin_and_end_with_its_reconstructions(small_dataset: Path, models: Path) -> None:
    model = load_model(models / "small")
    with Dataset.open(small_dataset) as dataset:
        entries = split(dataset, HeldOut.parse("speaker=anna")).held_out
        spectrograms = Clips(dataset, None).spectrograms(entries, model.features)
    sources = [SourceClip(spectrogram=s, duration_s=e.duration_s) for s, e in zip(spectrograms, entries, strict=True)]
    from wavemill.evaluation.clips import sounds

    whole = reconstruct(model, sources).spectrograms
    plain = sounds(whole, model.features, [source.duration_s for source in sources], 8_000)
    made = way_sounds(model, [(sources[0], sources[1]), (sources[2], sources[0])], 8_000)
    assert len(made) == 2 * STEPS
    for number, clip in ((0, 0), (STEPS - 1, 1), (STEPS, 2), (2 * STEPS - 1, 0)):
        np.testing.assert_allclose(made[number], plain[clip], atol=2e-3)

    labels = [entry.labels for entry in entries]
    names = [{"digit": (item["digit"], 0.9)} for item in labels]
    values = {"digit": list("0123456789")}
    rendition = Rendition(
        name="small",
        sounds=plain,
        scores={},
        heard={"digit": heard(values, *names).names("digit")},
        confidence={},
        right={},
        figures={},
    )
    pairs, how = draw_pairs(len(entries), 3), {"n_pairs": 3, "sample_rate_hz": 8_000}
    answers = [names[clip] for a, b in pairs for clip in (a, a, a, b, b)]
    figures = interpolation_figures(
        model, Ear(values, *answers), sources, labels, rendition, n_pairs=3, sample_rate_hz=8_000
    )
    assert (figures["pairs"], figures["ends_judged"], figures["ends_right"]) == (3, 6, 1)
    wrong = [{"digit": ("0" if item["digit"][0] != "0" else "1", 0.9)} for item in answers]
    assert interpolation_figures(model, Ear(values, *wrong), sources, labels, rendition, **how)["ends_right"] < 1
    assert interpolation_figures(model, Ear(values), sources[:1], labels, rendition, **how) is None
