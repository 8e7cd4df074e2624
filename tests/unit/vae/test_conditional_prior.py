from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import ModelError, UsageError
from wavemill.vae.conditions import conditions_of
from wavemill.vae.latents.conditional import ConditionalPrior

LABELS = [
    {"instrument": name, "pitch": pitch, "velocity": velocity}
    for name, pitches in (("cello", range(40, 60)), ("violin", range(55, 80)))
    for pitch in pitches
    for velocity in (50, 100)
    if (name, pitch) != ("violin", 69)
]
CONDITIONS = conditions_of(["instrument", "pitch", "velocity"], LABELS)
DEVIATIONS = np.float32([3, 1, 0.1, 0.1])


def prior() -> ConditionalPrior:
    differences = np.random.default_rng(0).normal(size=(len(LABELS), 4)).astype(np.float32) * DEVIATIONS
    peaks_db = np.float32([label["pitch"] / 2 for label in LABELS])
    return ConditionalPrior.fit(CONDITIONS, differences, peak_db=peaks_db, labels=LABELS)


def test_a_combination_that_was_never_heard_can_be_drawn() -> None:
    drawn = prior().draw(range(8), labels={"instrument": "violin", "pitch": "69"}, temperature=1)
    assert {(item["instrument"], item["pitch"]) for item in drawn.labels} == {("violin", 69)}
    assert {item["velocity"] for item in drawn.labels} == {50, 100}
    np.testing.assert_array_equal(drawn.numbers[:, :3], [[0, 1, 69]] * 8)
    np.testing.assert_allclose(drawn.peak_db, 34.5, atol=0.5)


def test_a_number_between_those_that_were_heard_can_be_drawn() -> None:
    drawn = prior().draw([1], labels={"pitch": "44.5"}, temperature=1)
    assert drawn.labels[0]["pitch"] == 44.5
    assert drawn.labels[0]["instrument"] == "cello", "no violin plays so low"


def test_open_labels_come_as_they_were_heard_together() -> None:
    drawn = prior().draw(range(200), labels={}, temperature=1)
    assert all((40 if item["instrument"] == "cello" else 55) <= item["pitch"] <= 80 for item in drawn.labels)
    assert len({tuple(item.items()) for item in drawn.labels}) > 60


def test_noise_is_as_wide_as_the_differences_and_depends_on_its_seed_alone() -> None:
    drawn = prior().draw(range(2_000), labels={}, temperature=1)
    np.testing.assert_allclose(drawn.noise.std(axis=0), DEVIATIONS, rtol=0.25)
    alone = prior().draw([7], labels={}, temperature=1)
    assert np.array_equal(alone.noise[0], drawn.noise[7])
    assert not prior().draw([7], labels={}, temperature=0).noise.any()
    varied = prior().noise([1, 2])
    assert varied.shape == (2, 4 + 4)
    assert not varied[:, 4:].any(), "a variation keeps its labels"


@pytest.mark.parametrize(
    ("labels", "said"),
    [({"pitch": "90"}, "40 to 79"), ({"instrument": "harp"}, "cello, violin"), ({"bow": "1"}, "no label 'bow'")],
)
def test_what_was_not_learnt_is_refused(labels: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prior().draw([1], labels=labels, temperature=1)


def test_it_survives_being_stored() -> None:
    stored = {name: np.asarray(array, np.float32) for name, array in prior().arrays().items()}
    again = ConditionalPrior.from_arrays(stored, CONDITIONS, 4)
    assert again is not None
    assert again.labels == {"instrument": ["cello", "violin"]}
    first, second = (one.draw([3], labels={"pitch": "50"}, temperature=1) for one in (prior(), again))
    assert first.labels == second.labels
    np.testing.assert_allclose(first.noise, second.noise, rtol=1e-2)


@pytest.mark.parametrize("name", ["rows", "peaks_db", "factors", "rest", "about"])
def test_damaged_arrays_are_refused(name: str) -> None:
    stored = {key: np.asarray(array, np.float32) for key, array in prior().arrays().items()}
    stored[f"prior/{name}"] = stored[f"prior/{name}"][:-1] if name in ("peaks_db", "rest", "about") else np.zeros(3)
    with pytest.raises(ModelError, match="prior cannot be read"):
        ConditionalPrior.from_arrays(stored, CONDITIONS, 4)


def test_without_complete_labels_there_is_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="omit one --condition"):
        ConditionalPrior.fit(
            CONDITIONS, np.zeros((2, 4), np.float32), peak_db=np.zeros(2, np.float32), labels=[{"pitch": 40}] * 2
        )
