from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.presets import PRESETS, Features
from wavemill.vae.folder.finding import list_models
from wavemill.vae.folder.record import read_record
from wavemill.vae.package import load_model
from wavemill.vae.training.quality import log_spectral_distance

MODELS = list_models(Path(__file__).parents[3] / "models")
DIGITS = [folder for folder in MODELS if folder.name.startswith("fsdd-")]
NOTES = Path(__file__).parents[3] / "models" / "gm-notes"


def harmonic_db(features: Features) -> NDArray[np.float32]:
    """A synthetic vowel: harmonics of 120 Hz under two formants, 0.4 s of it."""
    frequency = np.arange(features.n_bins)[:, None] * features.sample_rate_hz / features.n_fft
    comb = 6 * np.cos(2 * np.pi * frequency / 120)
    formants = -((frequency - 600) ** 2) / 9e4, -((frequency - 1_800) ** 2) / 4e5
    frames = np.arange(features.n_frames)[None] * features.hop_length / features.sample_rate_hz
    envelope = np.where(frames < 0.4, 20 * np.log10(np.sin(np.pi * np.clip(frames / 0.4, 1e-3, 1)) + 1e-3), -80)
    db = np.maximum(*formants) * 4 + comb + envelope
    return np.maximum(db, db.max() - 80)[None].astype(np.float32)


def test_there_is_a_default_model() -> None:
    assert "fsdd-vae" in [folder.name for folder in MODELS]


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_every_shipped_model_loads_and_fits_a_preset(folder: Path) -> None:
    model = load_model(folder)
    assert model.name == folder.name
    assert model.features == PRESETS[model.features.preset]
    assert model.prior is not None
    assert model.prior.labels == model.record.labels


@pytest.mark.parametrize("folder", DIGITS, ids=lambda folder: folder.name)
def test_models_of_digits_know_words_and_speakers(folder: Path) -> None:
    labels = read_record(folder).labels
    assert labels["digit"] == list("0123456789")
    assert len(labels["speaker"]) == 6


def test_the_model_of_notes_knows_instruments_and_a_range_of_pitches() -> None:
    record = read_record(NOTES)
    instrument, pitch, velocity = record.conditions
    assert len(record.labels["instrument"]) == 26
    assert instrument.require("violin") == "violin"
    assert pitch.require("69") == 69
    assert velocity.require("64.5") == 64.5
    assert 128 <= record.vector_dim <= 512


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_every_shipped_model_makes_something_like_what_it_is_given(folder: Path) -> None:
    model = load_model(folder)
    db = harmonic_db(model.features)
    out, _ = model.reconstruct(db)
    noise = np.random.default_rng(0).permuted(db, axis=1)
    assert log_spectral_distance(db, out)[0] < 0.7 * log_spectral_distance(db, noise)[0]
    assert abs(out.max() - db.max()) < 6


def test_the_model_of_notes_refines_its_latents_and_models_of_digits_do_not() -> None:
    assert {read_record(folder).refine for folder in DIGITS} == {0}
    model = load_model(NOTES)
    db = harmonic_db(model.features)
    (refined, _), (plain, _) = (model.reconstruct(db, refine=steps) for steps in (None, 0))
    assert log_spectral_distance(db, refined)[0] < 0.9 * log_spectral_distance(db, plain)[0]


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_every_shipped_model_is_small_and_says_where_it_comes_from(folder: Path) -> None:
    assert sum(file.stat().st_size for file in folder.iterdir()) < (8_000_000 if folder in DIGITS else 20_000_000)
    card = (folder / "README.md").read_text()
    assert ("Free Spoken Digit Dataset" if folder in DIGITS else "FluidR3") in card
    assert ("CC BY-SA 4.0" if folder in DIGITS else "MIT") in card
    assert ("STOI" if folder in DIGITS else "pYIN") in card
