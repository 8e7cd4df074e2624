"""Steps that move encoded latents until they draw their spectrogram more closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.generation import SoundGenerator
from wavemill.keras_seam import tf
from wavemill.synthesis import from_model
from wavemill.synthesis.from_model import SourceClip
from wavemill.vae.conditions import Category, Conditions, Number
from wavemill.vae.model import Model
from wavemill.vae.network.building import build_network
from wavemill.vae.network.condition_layers import Limited
from wavemill.vae.package import load_model
from wavemill.vae.training.quality import log_spectral_distance

CONDITIONS: Conditions = (Category(label="sort", values=("a", "b")), Number(label="pitch", knots=(1.0, 2.0, 4.0)))
STEPS = 5


@pytest.fixture
def model(model_dir: Path) -> Model:
    return load_model(model_dir)


@pytest.fixture
def conditioned(model: Model) -> Model:
    sizes = {"width": 16, "embedding": 4, "hidden": 8, "channels": 2, "fine": 4}
    record = replace(
        model.record, architecture="spectra", architecture_config=sizes, conditions=CONDITIONS, refine=STEPS
    )
    shape, latent_dim = record.features.shape, record.latent_dim
    network = build_network(
        "spectra", kind="vae", shape=shape, latent_dim=latent_dim, config=sizes, conditions=CONDITIONS
    )
    rng = np.random.default_rng(3)
    for variable in network.variables().values():  # some start at zero
        variable.assign(np.asarray(variable) + rng.normal(0, 0.1, variable.shape).astype(np.float32))
    return Model(record, network, digest="")


@pytest.mark.parametrize("name", ["model", "conditioned"])
def test_each_step_brings_the_reconstructions_closer(name: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    rows = np.random.default_rng(4).normal(size=(8, model.latent_dim)).astype(np.float32)
    db = model.decode(rows, peak_db=np.zeros(8, np.float32))  # something that the decoder can draw

    def distance(steps: int) -> float:
        latents = model.encode(db, refine=steps)
        drawn = model.decode(latents, peak_db=db.max(axis=(1, 2)), floor_db=db.min(axis=(1, 2)))
        return float(log_spectral_distance(db, drawn).mean())

    none, few, many = distance(0), distance(STEPS), distance(20)
    assert many < few < none


@pytest.mark.parametrize("name", ["model", "conditioned"])
def test_a_result_is_the_same_bytes_in_any_batch_and_nothing_is_compiled_twice(
    name: str, spectrograms_db: FloatArray, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(name)
    together = model.encode(spectrograms_db, refine=STEPS)
    assert np.array_equal(model.encode(spectrograms_db[::-1], refine=STEPS), together[::-1])
    for i in (0, 31, 39):
        assert np.array_equal(model.encode(spectrograms_db[i : i + 1], refine=STEPS)[0], together[i])
    model.encode(spectrograms_db[:7], refine=2)
    assert model._refine._step._compiled.experimental_get_tracing_count() == 1


def test_the_record_says_how_many_steps_and_a_caller_may_say_otherwise(
    conditioned: Model, spectrograms_db: FloatArray
) -> None:
    db, labels = spectrograms_db[:3], [{"sort": "b", "pitch": 3.0}] * 3
    own, same, none = (conditioned.encode(db, labels=labels, refine=n) for n in (None, STEPS, 0))
    assert np.array_equal(own, same)
    assert (own[:, :-3] != none[:, :-3]).all()
    np.testing.assert_array_equal(own[:, -3:], [[0, 1, 3]] * 3)  # what the decoder is told
    drawn, refined = (conditioned.encode(db, seeds=[1, 2, 3], refine=n) for n in (None, STEPS))
    assert np.array_equal(drawn, conditioned.encode(db, seeds=[1, 2, 3], refine=0))
    assert (drawn[:, :-3] != refined[:, :-3]).all()


def test_a_model_without_the_field_refines_nothing(model: Model, spectrograms_db: FloatArray) -> None:
    assert "refine" not in model.record.as_dict()
    assert np.array_equal(model.encode(spectrograms_db), model.encode(spectrograms_db, refine=0))


def test_the_number_is_kept_with_a_model(save_tiny: Callable[..., Path]) -> None:
    folder = save_tiny(refine=STEPS)
    assert load_model(folder).record.refine == STEPS
    assert f"by {STEPS} steps" in (folder / "README.md").read_text()


@pytest.mark.parametrize("steps", [-1, 101, 2.5, True])
def test_a_number_of_steps_that_means_nothing_is_refused(steps: int, model: Model, spectrograms_db: FloatArray) -> None:
    with pytest.raises(UsageError, match="expected a whole number from 0 to 100"):
        model.encode(spectrograms_db, refine=steps)


def test_silence_is_refined_to_something_finite(conditioned: Model) -> None:
    assert np.isfinite(conditioned.encode(np.full((1, 32, 16), -100, np.float32))).all()


def test_each_window_of_a_long_clip_is_refined(model: Model) -> None:
    db = np.random.default_rng(1).uniform(-60, 0, (32, 50)).astype(np.float32)
    [plain], [refined] = (
        from_model.encode(model, [SourceClip(spectrogram=db, duration_s=0.1)], refine=n) for n in (0, 3)
    )
    assert len(refined.rows) > 3
    assert (plain.rows != refined.rows).any(axis=1).all()
    made = SoundGenerator(model).reconstruct([db], refine=3)
    assert np.array_equal(made.latents, refined.rows)


def test_a_limit_does_not_stop_the_gradient() -> None:
    x = tf.constant([-0.5, 0.25, 1.5])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = Limited()(x)
    assert y.numpy().tolist() == [0, 0.25, 1]
    assert tape.gradient(y, x).numpy().tolist() == [1, 1, 1]
