from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.presets import Features
from wavemill.vae.folder.record import ModelRecord
from wavemill.vae.latents.prior import Prior
from wavemill.vae.network.building import Network, build_network
from wavemill.vae.network.forward import keep_operations_on_one_thread
from wavemill.vae.package import save_model

keep_operations_on_one_thread()  # as in a worker, and before any test can make TensorFlow begin

FEATURES = Features(preset="tiny", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=240, n_bins=32, n_frames=16)


def tiny_record(**changes) -> ModelRecord:
    record = ModelRecord(
        name="tiny",
        kind="vae",
        architecture="residual",
        architecture_config={"fine": 8, "coarse": 8, "frame": 8, "neck": 4},
        features=FEATURES,
        normalisation={"scheme": "peak", "range_db": 50.0, "fade_db": 3.0, "fade_to_db": 80.0},
        latent_dim=6,
        training={"data": "noise"},
        quality={"log_spectral_distance_db": 9.0},
        code_version="0",
    )
    return replace(record, **changes)


def tiny_network(record: ModelRecord) -> Network:
    network = build_network(
        record.architecture,
        kind=record.kind,
        shape=record.features.shape,
        latent_dim=record.latent_dim,
        config=record.architecture_config,
    )
    rng = np.random.default_rng(1)
    for variable in network.variables().values():  # what starts at zero must not hide a difference
        variable.assign(np.asarray(variable) + rng.normal(0, 0.1, variable.shape).astype(np.float32))
    return network


def tiny_prior() -> Prior:
    rng = np.random.default_rng(2)
    labels = [{"digit": str(i % 4), "speaker": "ann" if i % 3 else "ben"} for i in range(48)]
    return Prior.fit(rng.normal(size=(48, 6)).astype(np.float32), peak_db=np.full(48, -6, np.float32), labels=labels)


@pytest.fixture
def save_tiny(tmp_path: Path) -> Callable[..., Path]:
    def save(**changes) -> Path:
        record = tiny_record(**changes)
        folder = tmp_path / record.name
        save_model(folder, record, tiny_network(record), latents=tiny_prior().arrays())
        return folder

    return save


@pytest.fixture
def model_dir(save_tiny: Callable[..., Path]) -> Path:
    return save_tiny()


@pytest.fixture
def spectrograms_db() -> NDArray[np.float32]:
    """Of different levels and shapes, 40 of them: more than two forward chunks."""
    rng = np.random.default_rng(7)
    db = rng.uniform(-80, 0, (40, 32, 16)) + rng.uniform(-20, 0, (40, 1, 1))
    return db.astype(np.float32)
