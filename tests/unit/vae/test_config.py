from __future__ import annotations

from typing import Any

import pytest

from wavemill.errors import UsageError
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.trainer import learning_rate


def test_the_course_is_trained_as_the_course_did() -> None:
    config = TrainingConfig.for_architecture("course")
    assert (config.objective, config.beta, config.learning_rate) == ("course", 1.0, 5e-4)
    assert (config.batch_size, config.epochs, config.latent_dim) == (64, 150, 128)
    assert not config.augment
    assert learning_rate(config, 1000) == 5e-4


def test_what_is_not_given_keeps_the_recipe() -> None:
    config = TrainingConfig.for_architecture("course", epochs=3, batch_size=None)
    assert (config.epochs, config.batch_size) == (3, 64)


def test_the_learning_rate_rises_and_then_falls_as_a_cosine() -> None:
    config = TrainingConfig(learning_rate=1.0)
    schedule = learning_rate(config, 4000)
    rates = {step: float(schedule(step)) for step in (0, 100, 200, 2100, 4000)}
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[100] == pytest.approx(0.5, abs=0.005)
    assert rates[200] == pytest.approx(1.0)
    assert rates[2100] == pytest.approx(0.51, abs=0.001)
    assert rates[4000] == pytest.approx(0.02)
    assert learning_rate(config, 100)(49) > 0.5, "a short training spends no more than half of itself on the rise"
    assert learning_rate(config, 1)(0) == 1.0


@pytest.mark.parametrize(
    "wrong", [{"kind": "gan"}, {"epochs": 0}, {"beta": -1.0}, {"validation_fraction": 1.0}, {"schedule": "steps"}]
)
def test_options_that_cannot_work_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TrainingConfig(**wrong)
