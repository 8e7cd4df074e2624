"""A small dataset from the shipped clips, and a small model with seeded, untrained weights."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from wavemill.dataset.build import build
from wavemill.presets import PRESETS, Features

if TYPE_CHECKING:
    from wavemill.vae.latents.prior import Prior

DIGITS = PRESETS["digits"]


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of the speech clips that ship with wavemill."""
    return Path(str(files("wavemill") / "demo"))


@pytest.fixture(scope="session")
def small_dataset(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the shipped clips in the default preset; not to be changed."""
    folder = tmp_path_factory.mktemp("dataset") / "clips"
    build(clips, folder, DIGITS, jobs=1)
    return folder


def save_untrained_model(
    folder: Path, features: Features = DIGITS, *, kind: str = "vae", training: dict[str, Any] | None = None
) -> str:
    """Write a small model with seeded weights; return its digest."""
    import keras

    from wavemill.vae.folder.record import ModelRecord
    from wavemill.vae.network.building import build_network
    from wavemill.vae.network.scaling import normalisation_for
    from wavemill.vae.package import save_model

    keras.utils.set_random_seed(1)
    config = {"fine": 4, "coarse": 8, "frame": 16, "neck": 4, "encoder_depth": 1, "decoder_depth": 1, "frame_depth": 1}
    network = build_network("residual", kind=kind, shape=features.shape, latent_dim=8, config=config)
    record = ModelRecord(
        name=folder.name,
        kind=kind,
        architecture="residual",
        architecture_config=config,
        features=features,
        normalisation=normalisation_for("residual"),
        latent_dim=8,
        training=training or {},
        quality={},
        code_version="0",
        labels={"digit": list("0123456789"), "speaker": ["ann", "ben"]},
    )
    return save_model(folder, record, network, latents=_seeded_prior(latent_dim=8).arrays())


def _seeded_prior(latent_dim: int) -> Prior:
    from wavemill.vae.latents.prior import Prior

    rng = np.random.default_rng(1)
    labels = [{"digit": str(i % 10), "speaker": ("ann", "ben")[i // 10 % 2]} for i in range(80)]
    latents = rng.normal(size=(80, latent_dim)).astype(np.float32)
    return Prior.fit(latents, peak_db=rng.uniform(-20, -3, 80).astype(np.float32), labels=labels)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one small model, `small`; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    save_untrained_model(folder / "small")
    return folder
