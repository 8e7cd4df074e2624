from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.material import DIGITS, save_untrained_model

from wavemill.evaluation.latents import kl_nats, latent_figures
from wavemill.vae.package import load_model

NOISE_DB = np.random.default_rng(7).uniform(-80, 0, (6, *DIGITS.shape)).astype(np.float32)
UNLABELLED = [{}] * 7


def test_the_divergence_of_known_gaussians() -> None:
    mean = np.array([[0, 0], [2, 0]], np.float32)
    log_variance = np.array([[0, 0], [0, np.log(4)]], np.float32)
    # first clip: 0; second: 2^2 / 2 + (4 - 1 - ln 4) / 2
    assert kl_nats(mean, log_variance) == pytest.approx((0 + 2 + (3 - np.log(4)) / 2) / 2)


def test_a_dimension_that_never_moves_is_not_active(models: Path) -> None:
    model = load_model(models / "small")
    moved = np.concatenate([NOISE_DB, np.full((1, *DIGITS.shape), -80, np.float32)])
    moved[-1, :40, :40] = 0
    assert latent_figures(model, moved, UNLABELLED)["active_dimensions"] > 0
    figures = latent_figures(model, np.repeat(NOISE_DB[:1], 5, axis=0), UNLABELLED)
    assert (figures["dimensions"], figures["active_dimensions"]) == (8, 0)
    assert figures["kl_nats"] > 0


def test_a_plain_autoencoder_has_no_divergence(tmp_path: Path) -> None:
    save_untrained_model(tmp_path / "plain", kind="ae")
    assert "kl_nats" not in latent_figures(load_model(tmp_path / "plain"), NOISE_DB, UNLABELLED)
