"""The fake model: the same contract as a real one, and sounds of known pitches, without TensorFlow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavemill.errors import SpectrogramError, UsageError
from wavemill.generation import SoundGenerator
from wavemill.presets import PRESETS, Features
from wavemill.synthesis.spectrogram_model import SpectrogramModel
from wavemill.testing.sine_model import SineModel
from wavemill.vae.package import load_model

GUIDE = Path(__file__).parents[3] / "docs" / "testing.md"
TINY = Features(preset="tiny", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=240, n_bins=32, n_frames=16)


@pytest.fixture(params=["fake", "real"], scope="module")
def model(request: pytest.FixtureRequest, models: Path) -> SpectrogramModel:
    return SineModel() if request.param == "fake" else load_model("small", models_dir=models)


def _spectrograms(model: SpectrogramModel) -> np.ndarray:
    return np.random.default_rng(0).uniform(-60, 20, (3, *model.features.shape)).astype(np.float32)


def test_latents_and_spectrograms_have_the_shapes_and_types_that_the_model_states(model: SpectrogramModel) -> None:
    latents = model.encode(_spectrograms(model))
    assert (latents.shape, latents.dtype) == ((3, model.latent_dim), np.float32)
    decoded = model.decode(latents, peak_db=np.zeros(3, np.float32))
    assert (decoded.shape, decoded.dtype) == ((3, *model.features.shape), np.float32)
    assert decoded.max() <= 0
    assert decoded.min() >= -model.features.range_db


def test_an_item_depends_on_its_own_seed_and_not_on_the_batch(model: SpectrogramModel) -> None:
    db = _spectrograms(model)
    together = model.encode(db, seeds=[5, 6, 7])
    assert np.array_equal(model.encode(db[1:2], seeds=[6]), together[1:2])
    assert not np.array_equal(model.encode(db[1:2], seeds=[8]), together[1:2])
    drawn, alone = model.sample_latents([5, 6, 7]), model.sample_latents([6])
    assert np.array_equal(alone.latents, drawn.latents[1:2])
    assert alone.labels == drawn.labels[1:2]
    assert (drawn.peak_db.shape, drawn.duration_s.shape) == ((3,), (3,))
    moved = model.vary_latents(together, seeds=[1, 2, 3], strength=1.0)
    assert np.array_equal(model.vary_latents(together[2:], seeds=[3], strength=1.0), moved[2:])
    assert np.array_equal(model.vary_latents(together, seeds=[1, 2, 3], strength=0.0), together)


def test_wrong_input_is_the_same_error(model: SpectrogramModel) -> None:
    db = _spectrograms(model)
    for bad in (db[0], db[:, :-1], np.full_like(db, np.nan)):
        with pytest.raises(SpectrogramError):
            model.encode(bad)
    latents = model.encode(db)
    for call in (
        lambda: model.encode(db, seeds=[1]),
        lambda: model.vary_latents(latents, seeds=[1], strength=1.0),
        lambda: model.decode(latents[:, :-1], peak_db=np.zeros(3, np.float32)),
        lambda: model.decode(latents, peak_db=np.zeros(2, np.float32)),
        lambda: model.sample_latents([]),
        lambda: model.sample_latents([1], labels={"digit": "none"}),
        lambda: model.sample_latents([1], temperature=-1.0),
    ):
        with pytest.raises(UsageError):
            call()


@pytest.mark.parametrize("sine", [0, 3, 7])
def test_each_number_of_a_latent_is_heard_at_its_frequency(sine: int) -> None:
    model = SineModel()
    (sound,) = SoundGenerator(model).decode(np.eye(8, dtype=np.float32)[sine : sine + 1])
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    heard_hz = spectrum.argmax() * model.features.sample_rate_hz / len(sound)
    assert heard_hz == pytest.approx(model.frequencies_hz[sine], abs=2)


def test_levels_survive_decoding_and_encoding_and_silence_stays_silent() -> None:
    model = SineModel(TINY, latent_dim=3)
    latents = np.array([[1, 0.5, 0], [0.2, 1, 0.7], [0, 0, 0]], np.float32)
    decoded = model.decode(latents, peak_db=np.array([0, 10, 20], np.float32))
    assert model.encode(decoded) == pytest.approx(latents, abs=1e-5)
    assert decoded[2].max() == decoded[2].min() == 20 - TINY.range_db


def test_a_label_chooses_the_loudest_sine() -> None:
    drawn = SineModel().sample_latents([1, 2, 3], labels={"sine": "5"})
    assert drawn.latents.argmax(axis=1).tolist() == [5, 5, 5]
    assert SineModel().sample_latents([1], temperature=0.0).latents.sum() == 1


def test_features_that_cannot_hold_the_sines_are_refused() -> None:
    with pytest.raises(UsageError, match="stft-db"):
        SineModel(PRESETS["digits-mel"])
    with pytest.raises(UsageError, match="1 to 8 sines for 32 bins, received 9"):
        SineModel(TINY, latent_dim=9)


def test_the_guides_example_runs_without_tensorflow() -> None:
    example = next(
        block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S) if "SineModel" in block
    )
    code = f"{example}\nimport sys\nassert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
