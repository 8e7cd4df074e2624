"""Files of latents that are vast, deep or absurd are refused, each in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.support.memory import run_measured

from wavemill.errors import LatentError
from wavemill.rendering.latent_files import read_latent
from wavemill.vae.package import load_model

VAST = 20 * 2**30

JSONS = {
    "deep lists": '{"peak_db": ' + "[" * 100_000,
    "deep extras": '{"peak_db": 1, "provenance": ' + "[" * 200 + "]" * 200 + "}",
    "a number beyond all floats": '{"peak_db": 1' + "0" * 400 + "}",
    "megabytes of lists": '{"more": [' + "[]," * 2_000_000 + "[]]}",
}


@pytest.mark.parametrize("name", JSONS)
def test_odd_json_beside_latents_is_one_sentence(model_dir: Path, tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(6, np.float32))
    (tmp_path / "a.json").write_text(JSONS[name])
    with pytest.raises(LatentError, match=r"^a\.json: expected an object"):
        read_latent(str(tmp_path), "a", load_model(model_dir))


@pytest.mark.parametrize("name", ["a.npy", "a.json"])
def test_vast_files_of_latents_are_not_read(model_dir: Path, tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(6, np.float32))
    (tmp_path / "a.json").write_text("{}")
    os.truncate(tmp_path / name, VAST)
    said, peak_mib = run_measured(
        f"read_latent({str(tmp_path)!r}, 'a', model)",
        before="from wavemill.rendering.latent_files import read_latent; from wavemill.vae.package import load_model\n"
        f"model = load_model({str(model_dir)!r})",
    )
    assert said.startswith("LatentError: a")
    assert "\n" not in said
    assert peak_mib < 200
