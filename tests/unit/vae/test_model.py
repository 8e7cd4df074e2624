from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wavemill.arrays import FloatArray
from wavemill.errors import SpectrogramError, UsageError
from wavemill.vae.model import Model
from wavemill.vae.package import load_model


@pytest.fixture
def model(model_dir: Path) -> Model:
    return load_model(model_dir)


def test_a_result_is_the_same_bytes_alone_and_anywhere_in_any_batch(model: Model, spectrograms_db: FloatArray) -> None:
    seeds = list(range(100, 140))
    together, latents = model.reconstruct(spectrograms_db, seeds=seeds)
    order = np.random.default_rng(0).permutation(40)
    shuffled, shuffled_latents = model.reconstruct(spectrograms_db[order], seeds=[seeds[i] for i in order])
    assert np.array_equal(shuffled, together[order])
    assert np.array_equal(shuffled_latents, latents[order])
    for i in (0, 15, 16, 39):
        alone, its_latents = model.reconstruct(spectrograms_db[i : i + 1], seeds=seeds[i : i + 1])
        assert np.array_equal(alone[0], together[i])
        assert np.array_equal(its_latents[0], latents[i])


def test_without_seeds_the_latents_are_the_mean_of_many_samples(model: Model, spectrograms_db: FloatArray) -> None:
    one = spectrograms_db[:1]
    samples = model.encode(np.repeat(one, 400, axis=0), seeds=range(400))
    spread = samples.std(axis=0)
    assert (spread > 0.1).all()
    assert (np.abs(samples.mean(axis=0) - model.encode(one)[0]) < 4 * spread / 20).all()


def test_a_seed_belongs_to_its_item(model: Model, spectrograms_db: FloatArray) -> None:
    first = model.encode(spectrograms_db[:3], seeds=[5, 6, 7])
    again = model.encode(spectrograms_db[:3], seeds=[5, 60, 7])
    assert np.array_equal(first[[0, 2]], again[[0, 2]])
    assert (first[1] != again[1]).all()


def test_the_level_of_the_source_is_restored(model: Model, spectrograms_db: FloatArray) -> None:
    quiet = spectrograms_db - 25
    loud_out, loud_latents = model.reconstruct(spectrograms_db)
    quiet_out, quiet_latents = model.reconstruct(quiet)
    np.testing.assert_allclose(quiet_latents, loud_latents, atol=1e-4)
    np.testing.assert_allclose(quiet_out, loud_out - 25, atol=1e-2)
    assert (loud_out.max(axis=(1, 2)) <= spectrograms_db.max(axis=(1, 2))).all()


def test_decoding_fills_the_range_that_it_is_given(model: Model) -> None:
    latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    out = model.decode(latents, peak_db=np.float32([0, -10, -20]), floor_db=np.float32([-100, -100, -100]))
    assert out.shape == (3, 32, 16)
    assert out.dtype == np.float32
    implied = model.decode(latents, peak_db=np.float32([0, -10, -20]))
    explicit = model.decode(latents, peak_db=np.float32([0, -10, -20]), floor_db=np.float32([-80, -90, -100]))
    assert np.array_equal(implied, explicit)


def test_a_plain_autoencoder_reconstructs_and_refuses_to_sample(
    save_tiny: Callable[..., Path], spectrograms_db: FloatArray
) -> None:
    model = load_model(save_tiny(kind="ae"))
    out, latents = model.reconstruct(spectrograms_db[:2])
    assert out.shape == (2, 32, 16)
    assert latents.shape == (2, 6)
    with pytest.raises(UsageError, match="plain autoencoder"):
        model.encode(spectrograms_db[:2], seeds=[1, 2])


def test_the_course_architecture_does_not_depend_on_the_batch_either(
    save_tiny: Callable[..., Path], spectrograms_db: FloatArray
) -> None:
    changes = {"architecture": "course", "architecture_config": {"filters": [48, 32, 16, 16, 8]}}
    model = load_model(save_tiny(normalisation={"scheme": "min-max"}, **changes))
    together, _ = model.reconstruct(spectrograms_db)
    backwards, _ = model.reconstruct(spectrograms_db[::-1])
    assert np.array_equal(together[::-1], backwards)


@pytest.mark.parametrize("shape", [(2, 16, 32), (32, 16), (1, 32, 17)])
def test_another_shape_is_refused_with_the_command_to_build(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(SpectrogramError, match=r"\(batch, 32, 16\).*--features MODEL/model.json"):
        model.encode(np.zeros(shape, np.float32))


def test_nan_is_refused(model: Model, spectrograms_db: FloatArray) -> None:
    spectrograms_db[1, 3, 4] = np.nan
    with pytest.raises(SpectrogramError, match="NaN"):
        model.encode(spectrograms_db[:2])


def test_arguments_that_do_not_fit_are_refused(model: Model, spectrograms_db: FloatArray) -> None:
    with pytest.raises(UsageError, match="one seed for each of 3"):
        model.encode(spectrograms_db[:3], seeds=[1, 2])
    with pytest.raises(UsageError, match="empty batch"):
        model.encode(spectrograms_db[:0])
    with pytest.raises(UsageError, match=r"latents \(batch, 6\)"):
        model.decode(np.zeros((2, 7), np.float32), peak_db=np.zeros(2, np.float32))


def test_a_silent_spectrogram_gives_no_nan(model: Model) -> None:
    out, latents = model.reconstruct(np.full((1, 32, 16), -100, np.float32))
    assert np.isfinite(latents).all()
    assert np.isfinite(out).all()
