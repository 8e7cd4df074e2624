"""The measures by which features were chosen, on sounds that are known."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.feature_worlds import WORLDS, bandwidth_kept, candidates, distance_db, pitch_kept

from wavemill.arrays import FloatArray

RATE_HZ = 16_000


def tone(hz: float) -> FloatArray:
    t = np.arange(RATE_HZ) / RATE_HZ
    return np.sum([np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 6)], axis=0).astype(np.float32)


def test_a_sound_is_no_distance_from_itself_and_6_db_from_twice_itself() -> None:
    assert distance_db(tone(220), tone(220), RATE_HZ) == 0
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    assert distance_db(noise, 2 * noise, RATE_HZ) == pytest.approx(6.02, abs=0.01)


def test_a_pitch_is_kept_within_half_a_semitone() -> None:
    a_third_of_one = tone(220 * 2 ** (1 / 36))
    a_semitone = tone(220 * 2 ** (1 / 12))
    assert pitch_kept([tone(220)] * 2, [a_third_of_one, a_semitone], RATE_HZ) == 0.5


def test_bandwidth_is_kept_within_5_percent() -> None:
    sines = [np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32) for hz in (1_000, 1_040, 1_060)]
    assert bandwidth_kept([sines[0]] * 2, sines[1:], RATE_HZ) == 0.5


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_every_candidate_can_be_computed(world: object) -> None:
    for features in candidates(world):  # type: ignore[arg-type]
        features.require_consistent()
