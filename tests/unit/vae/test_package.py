from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wavemill.arrays import FloatArray
from wavemill.errors import ModelChangedError, ModelError, OutputError
from wavemill.vae.package import get_weights, load_model, save_model, set_weights


def relist(model_dir: Path, name: str) -> None:
    """Make the listing agree with a file that was changed."""
    import hashlib

    lines = (model_dir / "SHA256").read_text().splitlines()
    digest = hashlib.sha256((model_dir / name).read_bytes()).hexdigest()
    kept = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (model_dir / "SHA256").write_text("\n".join(kept) + "\n")


def test_a_loaded_model_is_the_saved_one_to_the_bit(
    model_dir: Path, tmp_path: Path, spectrograms_db: FloatArray
) -> None:
    model = load_model("tiny", models_dir=model_dir.parent)
    digest = save_model(tmp_path / "copy" / "tiny", model.record, model.network, latents=model.prior.arrays())
    again = load_model(tmp_path / "copy" / "tiny")
    assert again.digest == digest == model.digest
    assert (again.name, again.kind, again.latent_dim, again.features.preset) == ("tiny", "vae", 6, "tiny")
    for one, other in zip(model.reconstruct(spectrograms_db), again.reconstruct(spectrograms_db), strict=True):
        assert np.array_equal(one, other)


def test_half_precision_is_half_the_size_and_nearly_the_same(
    model_dir: Path, tmp_path: Path, spectrograms_db: FloatArray
) -> None:
    model = load_model(model_dir)
    save_model(tmp_path / "half", model.record, model.network, half_precision=True)
    with np.load(tmp_path / "half" / "weights.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float16)}
    half = load_model(tmp_path / "half")
    assert half.record.training["weights_stored_as"] == "float16"
    out, _ = half.reconstruct(spectrograms_db)
    np.testing.assert_allclose(out, model.reconstruct(spectrograms_db)[0], atol=1.0)


def test_a_model_whose_weights_were_changed_is_refused(model_dir: Path) -> None:
    data = bytearray((model_dir / "weights.npz").read_bytes())
    data[-400] ^= 1
    (model_dir / "weights.npz").write_bytes(data)
    with pytest.raises(ModelChangedError, match=r"weights\.npz"):
        load_model(model_dir)


def test_weights_of_another_shape_are_refused_even_with_a_digest_that_fits(model_dir: Path) -> None:
    record = json.loads((model_dir / "model.json").read_text())
    record["latent_dim"] = 7
    (model_dir / "model.json").write_text(json.dumps(record))
    relist(model_dir, "model.json")
    with pytest.raises(ModelError, match="expected shape"):
        load_model(model_dir)


def test_weights_that_are_pickles_are_never_read(model_dir: Path) -> None:
    with np.load(model_dir / "weights.npz") as arrays:
        weights = dict(arrays)
    weights["encoder/patches/kernel"] = np.full(weights["encoder/patches/kernel"].shape, None, object)
    np.savez(model_dir / "weights.npz", **weights)
    relist(model_dir, "weights.npz")
    with pytest.raises(ModelError, match="cannot be read as arrays"):
        load_model(model_dir)


def test_missing_and_additional_weights_are_named(model_dir: Path) -> None:
    model = load_model(model_dir)
    weights = get_weights(model.network)
    weights["encoder/extra"] = weights.pop("decoder/dense/bias")
    with pytest.raises(ModelError, match="decoder/dense/bias, encoder/extra"):
        set_weights(model.network, weights)


def test_saving_again_replaces_the_model_and_leaves_nothing_behind(model_dir: Path) -> None:
    model = load_model(model_dir)
    save_model(model_dir, model.record, model.network)
    assert sorted(file.name for file in model_dir.iterdir()) == ["README.md", "SHA256", "model.json", "weights.npz"]
    assert [file.name for file in model_dir.parent.iterdir()] == ["tiny"]
    assert load_model(model_dir).prior is None


def test_a_folder_that_cannot_be_written_is_an_output_error(model_dir: Path, tmp_path: Path) -> None:
    model = load_model(model_dir)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(tmp_path / "file" / "model", model.record, model.network)


def test_a_card_names_what_a_training_had_besides(save_tiny: Callable[..., Path]) -> None:
    training = {"added": ["voices", "more"], "not_sampled": [], "ancestors": [{"model": "first"}]}
    card = (save_tiny(training=training) / "README.md").read_text()
    assert "| added | voices, more |" in card
    assert "| not sampled | none |" in card
    assert "first" not in card


def test_the_card_tells_data_and_figures(model_dir: Path) -> None:
    card = (model_dir / "README.md").read_text()
    assert "noise" in card
    assert "| log spectral distance db | 9 |" in card
    assert 'load_model("tiny")' in card
