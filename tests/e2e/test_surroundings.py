"""A worker in a folder of an odd name, full of other programs' modules, with their variables and Keras settings."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.bench import Bench
from support.outputs import check_outputs
from support.stack import Stack

NAME = """My "Music" #1 [50%] ü;?'::zip\tand\\tab"""
MODULES = ("random", "queue", "json", "types", "numpy", "socket", "pickle", "celeryconfig", "tensorflow", "keras")
OTHERS = {
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    "CELERY_CONFIG_MODULE": "celeryconfig",
    "CELERY_LOADER": "default",
    "BROKER_URL": "redis://127.0.0.1:1/0",
    "APP": "celeryconfig",
    "DJANGO_SETTINGS_MODULE": "celeryconfig",
    "KERAS_BACKEND": "torch",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
}


@pytest.fixture
def odd(tmp_path: Path, models: Path) -> Stack:
    folder = tmp_path / NAME
    (folder / "user/.keras").mkdir(parents=True)
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}
    (folder / "user/.keras/keras.json").write_text(json.dumps(settings))
    for module in MODULES:
        (folder / f"{module}.py").write_text(f"raise SystemExit('{module} was imported from the working folder')")
    shutil.copytree(models, folder / "models")
    # The tests' own way to start commands is not a user's: without PYTHONSAFEPATH, -m looks into the working folder.
    variables = {**OTHERS, "HOME": str(folder / "user"), "PYTHONSAFEPATH": "1"}
    return Stack(folder, {**variables, "WAVEMILL_MODELS": "models", "WAVEMILL_HOME": str(folder / ".wavemill")})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_makes_the_same_bytes_wherever_it_runs(odd: Stack, bench: Bench, clips: Path) -> None:
    plain = bench.submit()
    bench.render(plain)
    beside = set(odd.folder.parent.iterdir())
    odd.cli("dataset", "build", clips, "data", "--jobs", "2")
    with odd.running("up", "--no-web", "--devices", "cpu"):
        options = ["--dataset", "data", "--model", "small", "--output", "out", "--all", "--wait"]
        batch = odd.producer.batch(odd.json("submit", "reconstruct", *options)["batch_id"])
    assert "imported from the working folder" not in odd.log()
    check_outputs(batch, expect_done=20)
    expected = {row.spectrogram_id: row.generated_path for row in plain.jobs()}
    for row in batch.jobs():
        ours, theirs = soundfile.read(row.generated_path), soundfile.read(expected[row.spectrogram_id])
        np.testing.assert_array_equal(ours[0], theirs[0])
    odd.cli("export", batch.id, "--format", "zip", "--output", "x::y.zip")
    assert len(zipfile.ZipFile(odd.folder / "x::y.zip").namelist()) == 42
    assert set(odd.folder.parent.iterdir()) == beside  # no part of the name was taken for another place
    odd.producer.close()
