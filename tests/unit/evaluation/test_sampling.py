from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.ears import Ear, heard

from wavemill.evaluation.sampling import Background, by_label, coverage, frechet_figures, memorisation
from wavemill.recogniser.recogniser import Heard
from wavemill.synthesis import from_model
from wavemill.vae.package import load_model

DIGITS = {"digit": list("0123")}


def test_coverage_counts_what_the_ear_is_sure_of() -> None:
    answers = [("0", 0.95), ("0", 0.99), ("1", 0.91), ("1", 0.97), ("2", 0.89), ("3", 0.5), ("0", 0.4), ("1", 0.3)]
    figures = coverage(heard(DIGITS, *({"digit": answer} for answer in answers)), "digit")
    assert figures == {
        "sure": 4 / 8,
        "covered": 2,
        "values": 4,
        "entropy": pytest.approx(0.5),  # two of four values, as many of each
        "counts": {"0": 2, "1": 2, "2": 0, "3": 0},
    }


def test_nothing_sure_covers_nothing() -> None:
    figures = coverage(heard(DIGITS, {"digit": ("2", 0.9)}), "digit")
    assert (figures["sure"], figures["covered"], figures["entropy"]) == (0, 0, 0)


def test_samples_of_a_label_count_where_that_label_is_heard_for_sure(models: Path) -> None:
    model = load_model(models / "small")
    assert model.prior.labels["speaker"] == ["ann", "ben"]
    ben = [{"speaker": ("ben", 0.95)}] * 6 + [{"speaker": ("ben", 0.6)}] * 2 + [{"speaker": ("eve", 0.99)}] * 2
    ear = Ear({"speaker": ["ben", "eve"]}, *ben)
    figures = by_label(model, ear, "speaker", 12)
    assert figures == {"asked": 0.6, "samples_each": 10, "by_value": {"ben": 0.6}}
    assert len(ear.sounds) == 10, "nobody asks for eve, whom the model does not know"
    two = Ear({"speaker": ["ann", "ben"]}, *[{"speaker": ("ann", 0.95)}] * 20)
    assert by_label(model, two, "speaker", 20)["by_value"] == {"ann": 1, "ben": 0}
    assert by_label(model, Ear({"voice": ["x", "y"]}), "voice", 20)["asked"] is None


def test_samples_of_a_range_are_spread_over_its_numbers(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(models / "small")
    asked = []
    drawn = from_model.sample

    def sample(*args: Any, labels: dict[str, str]) -> Any:
        asked.append(labels)
        return drawn(*args, labels=labels)

    monkeypatch.setattr(from_model, "sample", sample)
    names = ["0 to 4", "5 to 8"]
    figures = by_label(model, Ear({"digit": names}, *[{"digit": (names[0], 0.95)}] * 20), "digit", 20)
    assert figures == {"asked": 0.5, "samples_each": 10, "by_value": {"0 to 4": 1, "5 to 8": 0}}
    assert asked == [{"digit": str(digit)} for digit in range(9)], "9 is in no range"


def pictures(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)


def embedded(points: NDArray[np.floating]) -> Heard:
    return Heard(probabilities={}, embedding=points.astype(np.float32), labels={})


def background(held_out: NDArray[np.floating], others: NDArray[np.floating]) -> Background:
    return Background(
        held_out_pictures=pictures(0.5, 0.7),
        other_pictures=pictures(0, 1),
        held_out=embedded(held_out),
        others=embedded(others),
    )


def test_a_copy_lies_nearer_to_what_was_trained_on_than_held_out_clips_do() -> None:
    real = background(np.zeros((2, 2)), np.zeros((2, 2)))
    figures = memorisation(pictures(0.01, 0.4, 0.5, 0.98), real, range_db=50)
    assert figures == {
        "nearest_db_median": pytest.approx((1 + 20) / 2),  # 0.5, 20, 25 and 1 dB
        "nearest_db_median_of_held_out": pytest.approx((25 + 15) / 2),
        "nearest_db_least": pytest.approx(0.5),
        "copies": 2 / 4,
        "nearer_than_others": 1,  # the two others lie 50 dB apart
    }


def test_a_single_other_recording_has_none_to_be_near_to() -> None:
    real = replace(background(np.zeros((2, 2)), np.zeros((1, 2))), other_pictures=pictures(0))
    figures = memorisation(pictures(0.01, 0.4), real, range_db=50)
    assert figures["nearer_than_others"] is None
    assert figures["nearest_db_least"] == pytest.approx(0.5)


def test_the_frechet_distance_compares_as_many_with_as_many() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(3_000, 8))
    real = background(cloud[:50], cloud[50:2_400])
    figures = frechet_figures(embedded(cloud[2_400:]), real)
    assert figures["frechet_points"] == 50
    # All are of one cloud: with 600 points of samples the distance would be a tenth of that of the 50 held out.
    assert figures["frechet_distance"] == pytest.approx(figures["frechet_distance_of_held_out"], rel=0.5)


@pytest.mark.parametrize(("samples", "held_out", "points"), [(1, 30, 1), (30, 1, 1), (2, 30, 2)])
def test_a_single_sample_or_clip_has_no_frechet_distance(samples: int, held_out: int, points: int) -> None:
    rng = np.random.default_rng(0)
    real = background(rng.normal(size=(held_out, 4)), rng.normal(size=(40, 4)))
    figures = frechet_figures(embedded(rng.normal(size=(samples, 4))), real)
    assert figures["frechet_points"] == points
    assert (figures["frechet_distance"] is None) == (figures["frechet_distance_of_held_out"] is None) == (points < 2)
