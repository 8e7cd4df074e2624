from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.material import DIGITS, save_untrained_model

from wavemill.evaluation.latents import kl_nats, latent_figures
from wavemill.vae.conditions import conditions_of
from wavemill.vae.folder.record import ModelRecord
from wavemill.vae.model import Model
from wavemill.vae.network.building import build_network
from wavemill.vae.network.scaling import normalisation_for
from wavemill.vae.package import load_model
from wavemill.vae.training.losses import kl_between

NOISE_DB = np.random.default_rng(7).uniform(-80, 0, (6, *DIGITS.shape)).astype(np.float32)
UNLABELLED = [{}] * 7


def test_the_divergence_of_known_gaussians() -> None:
    mean = np.array([[0, 0], [2, 0]], np.float32)
    log_variance = np.array([[0, 0], [0, np.log(4)]], np.float32)
    # first clip: 0; second: 2^2 / 2 + (4 - 1 - ln 4) / 2
    assert kl_nats(mean, log_variance) == pytest.approx((0 + 2 + (3 - np.log(4)) / 2) / 2)


def test_the_divergence_from_another_gaussian() -> None:
    mean, log_variance = np.array([[1.0, 3.0]], np.float32), np.log(np.array([[1.0, 4.0]], np.float32))
    prior_mean, prior_log_variance = np.array([[1.0, 1.0]], np.float32), np.log(np.array([[1.0, 2.0]], np.float32))
    # first dimension: 0; second: (ln(2 / 4) + (4 + 2^2) / 2 - 1) / 2
    expected = (np.log(2 / 4) + (4 + 4) / 2 - 1) / 2
    assert kl_nats(mean, log_variance, prior_mean, prior_log_variance) == pytest.approx(expected)


def test_a_conditioned_models_divergence_is_that_from_its_own_prior(tmp_path: Path) -> None:
    conditions = conditions_of(["kind"], [{"kind": "low"}, {"kind": "high"}])
    sizes = {"width": 8, "embedding": 4, "hidden": 8, "channels": 2, "fine": 4}
    network = build_network(
        "spectra", kind="vae", shape=DIGITS.shape, latent_dim=64, config=sizes, conditions=conditions
    )
    record = ModelRecord(
        name="told",
        kind="vae",
        architecture="spectra",
        architecture_config=sizes,
        features=DIGITS,
        normalisation=normalisation_for("spectra"),
        latent_dim=64,
        training={},
        quality={},
        code_version="0",
        conditions=conditions,
    )
    (bias,) = (variable for variable in network.prior.variables if variable.path.endswith("mean/bias"))
    bias.assign(np.full(64, 3, np.float32))
    model = Model(record, network, digest="")
    labels = [{"kind": "low"}, {"kind": "high"}] * 3
    figures = latent_figures(model, NOISE_DB, labels)
    assert (figures["dimensions"], figures["told"]) == (64, 2)
    mean, log_variance = model.posterior(NOISE_DB)
    numbers = np.array([conditions[0].numbers(item["kind"]) for item in labels], np.float32)
    prior_mean, prior_log_variance = (np.asarray(output) for output in network.prior(numbers))
    by_hand = kl_between(mean, log_variance, prior_mean, prior_log_variance)
    assert figures["kl_nats"] == pytest.approx(float(np.mean(by_hand)), rel=1e-4)
    assert abs(figures["kl_nats"] - kl_nats(mean, log_variance)) > 1


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
