from __future__ import annotations

import numpy as np
import pytest

from wavemill.recogniser.augmentation import augment, not_a_word


def batch(n: int = 64) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 1, (n, 40, 102)).astype(np.float32)
    return pictures, {"digit": np.eye(10, dtype=np.float32)[rng.integers(10, size=n)]}


def test_augmented_pictures_stay_pictures_and_targets_stay_distributions() -> None:
    x, targets = augment(*batch(), np.random.default_rng(1), range_db=50)
    assert x.shape == (64, 40, 102)
    assert (x.min(), x.max()) == (0, 1)
    assert targets["digit"].sum(axis=1) == pytest.approx(np.ones(64))


def test_the_same_seed_gives_the_same_takes_and_another_seed_others() -> None:
    first, again, other = (augment(*batch(), np.random.default_rng(seed), range_db=50)[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).mean() > 0.05


def test_mixtures_are_meant_to_be_doubtful_and_noise_to_be_even() -> None:
    _, targets = augment(*batch(400), np.random.default_rng(3), range_db=50)
    greatest = targets["digit"].max(axis=1)
    assert 0.02 < np.mean(np.isclose(greatest, 0.1)) < 0.12
    assert 0.05 < np.mean((greatest > 0.11) & (greatest < 0.99)) < 0.3
    assert np.mean(greatest == 1) > 0.6


def test_what_is_no_word_is_energy_that_ends() -> None:
    made = not_a_word(20, (40, 102), np.random.default_rng(4))
    assert made.any(axis=(1, 2)).all()
    assert made.max() <= 1
    assert not made[:, :, -1].all()
