from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from wavemill.vae.network.architectures import build_network
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.trainer import Trainer, warm_up_steps


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 60, 140), (0.99, 180, 200)])
def test_a_share_of_the_clips_is_decoded_from_the_mean(share: float, least: int, most: int) -> None:
    config = TrainingConfig(latent_dim=5, noiseless_share=share)
    network = build_network("residual", kind="vae", shape=(16, 16), latent_dim=5)
    x = np.random.default_rng(0).random((200, 16, 16, 1), np.float32)
    latents, _ = Trainer(network, config, total_steps=1)._latents(tf.constant(x), tf.constant([1, 2]))
    mean = network.encode(x, training=True)[0]
    at_mean = int(np.isclose(latents, mean, atol=1e-6).all(axis=1).sum())
    assert least <= at_mean <= most


@pytest.mark.parametrize(
    ("total_steps", "rise"), [(1, 1), (10, 5), (180, 90), (600, 100), (3_000, 150), (100_000, 200)]
)
def test_the_learning_rate_rises_slowly_however_short_the_training(total_steps: int, rise: int) -> None:
    assert warm_up_steps(total_steps) == rise
