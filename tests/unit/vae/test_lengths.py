from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import ModelError
from wavemill.vae.latents.lengths import Lengths

FRAME_S = 2.0
LABELS = [{"drum": drum, "kit": kit} for drum in ("cymbal", "kick") for kit in ("a", "b") for _ in range(20)]
DURATIONS_S = np.concatenate([np.linspace(1.5, 2.0, 40), np.linspace(0.1, 0.4, 40)]).astype(np.float32)


@pytest.fixture
def lengths() -> Lengths:
    return Lengths.fit(DURATIONS_S, LABELS)


def endless(lengths: Lengths, labels: dict[str, str], n: int = 500) -> np.ndarray:
    return lengths.ending(np.full(n, FRAME_S, np.float32), [labels] * n, range(n), frame_s=FRAME_S)


def test_sounds_that_do_not_end_get_lengths_as_their_label_has(lengths: Lengths) -> None:
    at = [0.05, 0.25, 0.5, 0.75, 0.95]
    for drum, own in (("cymbal", DURATIONS_S[:40]), ("kick", DURATIONS_S[40:])):
        drawn = endless(lengths, {"drum": drum, "kit": "a"})
        np.testing.assert_allclose(np.quantile(drawn, at), np.quantile(own, at), atol=0.04)


def test_sounds_of_no_label_get_lengths_as_all_have(lengths: Lengths) -> None:
    drawn = endless(lengths, {})
    assert 0.4 < np.mean(drawn < 1) < 0.6


def test_a_sound_that_ends_keeps_its_end_and_none_grows_longer(lengths: Lengths) -> None:
    kick = {"drum": "kick"}
    assert lengths.ending(np.array([0.3], np.float32), [kick], [1], frame_s=FRAME_S) == np.float32(0.3)
    drawn = lengths.ending(np.full(50, 0.41, np.float32), [kick] * 50, range(50), frame_s=FRAME_S)
    assert ((drawn >= 0.1) & (drawn <= 0.4)).all()


def test_the_same_seed_gives_the_same_length_in_any_batch(lengths: Lengths) -> None:
    sounding = np.full(1, FRAME_S, np.float32)
    alone = lengths.ending(sounding, [{"drum": "kick"}], [7], frame_s=FRAME_S)
    assert alone[0] == endless(lengths, {"drum": "kick"})[7]


def test_a_value_with_few_recordings_gets_lengths_as_all_have() -> None:
    few = Lengths.fit(DURATIONS_S[33:], LABELS[33:])  # seven cymbals
    assert list(few.values) == ["kick"] or few.label == "kit"
    np.testing.assert_array_equal(endless(few, {"drum": "cymbal"}), endless(few, {}))


def test_lengths_survive_storage_and_older_models_have_none(lengths: Lengths) -> None:
    stored = Lengths.from_arrays(lengths.arrays())
    assert stored is not None
    np.testing.assert_array_equal(endless(stored, {"drum": "kick"}), endless(lengths, {"drum": "kick"}))
    assert Lengths.from_arrays({}) is None


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("quantiles", np.ones((2, 21), np.float32)),
        ("quantiles", np.full((3, 21), np.nan, np.float32)),
        ("quantiles", np.zeros((3, 21), np.float32)),
        ("about", np.frombuffer(b"[]", np.uint8)),
        ("about", np.frombuffer(b'{"label": "drum", "values": 2}', np.uint8)),
    ],
)
def test_arrays_that_hold_no_lengths_are_refused(lengths: Lengths, name: str, array: np.ndarray) -> None:
    with pytest.raises(ModelError, match="lengths of samples cannot be read"):
        Lengths.from_arrays(lengths.arrays() | {f"lengths/{name}": array})
