from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wavemill.vae.network.building import Encoded, build_network
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.trainer import Trainer, learning_rate, warm_up_steps


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 60, 140), (0.99, 180, 200)])
def test_a_share_of_the_clips_is_decoded_from_the_mean(share: float, least: int, most: int) -> None:
    config = TrainingConfig(latent_dim=5, noiseless_share=share)
    network = build_network("residual", kind="vae", shape=(16, 16), latent_dim=5)
    x = np.random.default_rng(0).random((200, 16, 16, 1), np.float32)
    encoded = Encoded.of(network, network.encode(x, training=True))
    latents, _ = Trainer(network, config, total_steps=1)._latents(encoded, None, tf.constant([1, 2]))
    mean = encoded.mean
    at_mean = int(np.isclose(latents, mean, atol=1e-6).all(axis=1).sum())
    assert least <= at_mean <= most


@pytest.mark.parametrize(
    ("total_steps", "rise"), [(1, 1), (10, 5), (180, 90), (600, 100), (3_000, 150), (100_000, 200)]
)
def test_the_learning_rate_rises_slowly_however_short_the_training(total_steps: int, rise: int) -> None:
    assert warm_up_steps(total_steps) == rise


@pytest.mark.parametrize(("objective", "is_clipped"), [("calibrated", True), ("course", False)])
def test_gradients_are_clipped_but_not_those_of_the_course(
    monkeypatch: pytest.MonkeyPatch, objective: str, is_clipped: bool
) -> None:
    monkeypatch.setattr("wavemill.vae.training.trainer.GRADIENT_NORM", 1e-3)
    network = build_network("residual", kind="vae", shape=(16, 16), latent_dim=5)
    trainer = Trainer(network, TrainingConfig(latent_dim=5, objective=objective), total_steps=10)
    trainer.train_step(np.random.default_rng(0).random((4, 16, 16, 1), np.float32), 0)
    momenta = [np.asarray(v) for v in trainer._optimizer.variables if v.path.endswith("momentum")]
    norm = 10 * np.sqrt(sum(np.square(momentum).sum() for momentum in momenta))  # Adam keeps a tenth of the first
    assert norm == pytest.approx(1e-3, rel=1e-3) if is_clipped else norm > 1e-2


def test_the_rate_of_a_step_follows_the_schedule_through_a_restored_state() -> None:
    config = TrainingConfig(latent_dim=5, learning_rate=1e-3)
    x = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    trainers = [
        Trainer(build_network("residual", kind="vae", shape=(16, 16), latent_dim=5), config, total_steps=10)
        for _ in range(2)
    ]
    for step in range(3):
        trainers[0].train_step(x, step)
    trainers[1].restore(trainers[0].state())
    assert float(trainers[1]._optimizer.learning_rate) == pytest.approx(float(learning_rate(config, 10)(3)))
    for trainer in trainers:
        trainer.train_step(x, 3)
    first, second = (trainer.state() for trainer in trainers)
    assert all(np.array_equal(first[name], second[name]) for name in first)
