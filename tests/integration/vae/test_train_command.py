from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from wavemill.dataset.build import build
from wavemill.errors import ModelChangedError
from wavemill.presets import Features
from wavemill.vae.package import load_model
from wavemill.vae.training.config import SPATIAL_CHANNELS, SPATIAL_STEP, TrainingConfig
from wavemill_worker.cli.model import model as model_command
from wavemill_worker.cli.train import train as train_command

FEATURES = Features(
    preset="tiny", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=2_032, n_bins=32, n_frames=128
)


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    audio_dir = tmp_path_factory.mktemp("audio")
    t = np.arange(2_032) / 8_000
    for i in range(12):
        pitch = 300 + 150 * (i % 3)
        tone = 0.5 * np.sin(2 * np.pi * pitch * (1 + 0.1 * i * t) * t) * np.hanning(len(t))
        soundfile.write(audio_dir / f"{i % 3}_ann_{i}.wav", tone, 8_000)
    soundfile.write(audio_dir / "0_ann_99.wav", np.zeros(2_032), 8_000)  # silence must not stop a training
    folder = tmp_path_factory.mktemp("data") / "tones"
    build(audio_dir, folder, FEATURES, jobs=1)
    return folder


def invoke(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_train_makes_a_model_that_list_show_and_verify_know(dataset_dir: Path, tmp_path: Path) -> None:
    options = ("--epochs", 2, "--batch-size", 4, "--latent-dim", 4, "--validation-label", "index=9,10,11", "--json")
    result = invoke(train_command, dataset_dir, tmp_path / "tones", *options)
    assert result.exit_code == 0
    *epochs, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    record = load_model("tones", models_dir=tmp_path).record
    assert record.training["spectrograms"] == 9
    assert record.training["held_out"] == 3
    assert record.quality["log_spectral_distance_db"] > 0

    listed = json.loads(invoke(model_command, "list", "--models", tmp_path, "--json").stdout)
    assert (listed["model"], listed["digest"], listed["latent_dim"]) == ("tones", last["digest"], 4)
    shown = json.loads(invoke(model_command, "show", "tones", "--models", tmp_path, "--json").stdout)
    assert shown["features"]["preset"] == "tiny"
    verified = invoke(model_command, "verify", tmp_path / "tones")
    assert last["digest"] in verified.stdout

    (tmp_path / "tones" / "README.md").write_text("edited")
    with pytest.raises(ModelChangedError, match=r"README\.md"):
        invoke(model_command, "verify", "tones", "--models", tmp_path)
    assert "has changed" in json.loads(invoke(model_command, "list", "--models", tmp_path, "--json").stdout)["error"]


def test_a_spatial_model_needs_no_size_for_any_shape(tmp_path: Path) -> None:
    features = Features(
        preset="odd", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=2_000, n_bins=32, n_frames=126
    )
    for i in range(12):
        soundfile.write(tmp_path / f"{i % 3}_ann_{i}.wav", np.random.default_rng(i).normal(0, 0.1, 2_000), 8_000)
    build(tmp_path, tmp_path / "data", features, jobs=1)
    options = ("--architecture", "spatial", "--epochs", 1, "--batch-size", 4, "--json")
    assert invoke(train_command, tmp_path / "data", tmp_path / "m", *options).exit_code == 0
    assert load_model(tmp_path / "m").latent_dim == 16 * 4 * 16


def test_train_takes_a_start_and_another_dataset(dataset_dir: Path, tmp_path: Path) -> None:
    options = ("--epochs", 1, "--batch-size", 4, "--latent-dim", 4, "--patience", 0, "--json")
    assert invoke(train_command, dataset_dir, tmp_path / "first", *options).exit_code == 0
    more = ("--init", tmp_path / "first", "--add", dataset_dir, "--added-share", 0.4, "--kind", "ae", "--epochs", 1)
    another = ("--validation-label", "index=9, 10", "--json")
    result = invoke(train_command, dataset_dir, tmp_path / "second", *more, *another)
    assert result.exit_code == 0
    assert "first was trained with other clips held out (a random part)" in result.stderr
    assert "may have heard clips that index=9, 10 holds out" in result.stderr
    record = load_model("second", models_dir=tmp_path).record
    assert (record.kind, record.latent_dim) == ("ae", 4)
    assert record.training["added_share"] == 0.4
    assert record.training["init"].startswith("first, ")
    assert (record.training["dataset"], record.training["added"]) == ("tones", ["tones"])
    assert record.training["held_out"] == 2
    assert record.training["ancestors"][0]["validation_label"] is None


def test_an_interrupted_training_says_how_to_go_on_and_its_best_weights_can_be_kept(
    dataset_dir: Path, tmp_path: Path
) -> None:
    options = ("--epochs", "10000", "--batch-size", "4", "--latent-dim", "4")
    command = [sys.executable, "-m", "wavemill_producer.cli.main", "train", str(dataset_dir), str(tmp_path / "m")]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("epoch 1 of 10000: error ") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "--resume to continue, or with --finish to save the best weights so far" in errors
    result = invoke(train_command, dataset_dir, tmp_path / "m", *options, "--finish", "--json")
    assert result.exit_code == 0
    assert load_model(tmp_path / "m").record.training["epochs_done"] >= 1


def test_without_scikit_learn_the_command_says_so_before_it_trains(dataset_dir: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None; from wavemill_producer.cli.main import run; "
        f"sys.exit(run(['train', {str(dataset_dir)!r}, {str(tmp_path / 'm')!r}, '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "this command needs sklearn: pip install 'wavemill[worker]'" in done.stderr
    assert "epoch" not in done.stdout


def test_the_help_states_the_defaults_of_each_architecture() -> None:
    text = " ".join(train_command.get_help(click.Context(train_command)).split())
    named = {name: TrainingConfig.for_architecture(name) for name in ("residual", "spatial", "spectra", "course")}
    for option in ("epochs", "batch_size", "learning_rate", "beta"):
        values = {name: f"{getattr(config, option):g}" for name, config in named.items()}
        others: dict[str, list[str]] = {}
        for name, value in values.items():
            if value != values["residual"]:
                others.setdefault(value, []).append(name)
        said = "".join(f"; {', '.join(names)}: {value}" for value, names in others.items())
        assert f"[{values['residual']}{said}]" in text, option
    for option in ("patience", "added_share", "seed"):
        assert f"[{getattr(named['residual'], option):g}]" in text, option
    assert (
        f"[{named['residual'].latent_dim}; spatial: {SPATIAL_CHANNELS} numbers for each {SPATIAL_STEP} bins x" in text
    )


@pytest.mark.parametrize("module", ["train", "model"])
def test_importing_a_command_is_light(module: str) -> None:
    program = (
        f"import sys, wavemill_worker.cli.{module}; "
        "sys.exit(bool({'numpy', 'tensorflow', 'keras', 'rich', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
