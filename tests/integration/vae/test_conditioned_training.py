"""Training with labels that the decoder is told, from a folder of sounds to samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.presets import Features
from wavemill.synthesis import from_model
from wavemill.synthesis.from_model import SourceClip
from wavemill.vae.folder.record import read_record
from wavemill.vae.model import Model
from wavemill.vae.package import load_model
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.dataset_source import DatasetSource
from wavemill.vae.training.run import TrainingRun
from wavemill_producer.checks import require_labels
from wavemill_worker.cli.model import model as model_command
from wavemill_worker.cli.train import train as train_command

FEATURES = Features(preset="tiny", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=496, n_bins=32, n_frames=32)
SIZES = {"width": 32, "embedding": 8, "hidden": 16, "channels": 4, "fine": 8}
LOW, HIGH = 4, 24  # bins
SPLITS = {("flute", 12): "test", ("reed", 22): "test"}
SPLITS |= dict.fromkeys([("flute", 8), ("flute", 18), ("reed", 10), ("reed", 15)], "validation")


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of two instruments; `reed` has two partials. Each pitch is heard of one of them at least."""
    audio = tmp_path_factory.mktemp("audio")
    t, rows = np.arange(496) / 8_000, []
    for number, (instrument, pitch) in enumerate((i, p) for i in ("flute", "reed") for p in range(LOW, HIGH + 1)):
        tone = 0.4 * np.sin(2 * np.pi * pitch * 125 * t)
        tone += 0.2 * np.sin(2 * np.pi * (pitch + 6) * 125 * t) * (instrument == "reed")
        soundfile.write(audio / f"{number}.wav", tone * np.hanning(len(t)), 8_000)
        split = SPLITS.get((instrument, pitch), "train")
        rows.append({"file_name": f"{number}.wav", "instrument": instrument, "pitch": pitch, "split": split})
    with (audio / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    folder = tmp_path_factory.mktemp("data") / "tones"
    build(audio, folder, FEATURES, jobs=1)
    return folder


@pytest.fixture(scope="module")
def model_dir(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tones"
    options = {"architecture_config": SIZES, "latent_dim": 8, "epochs": 60, "batch_size": 4, "learning_rate": 5e-3}
    options |= {"average_decay": 0.9, "patience": 0}
    config = folder.with_suffix(".json")
    config.write_text(json.dumps(options))
    arguments = [dataset_dir, folder, "--condition", "instrument", "--condition", "pitch", "--config", config]
    result = CliRunner().invoke(train_command, [*map(str, arguments), "--no-augment"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    folder.with_suffix(".txt").write_text(result.output)
    return folder


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Model:
    return load_model(model_dir)


def test_the_command_says_what_it_will_do_and_what_can_be_sampled(model_dir: Path) -> None:
    said = model_dir.with_suffix(".txt").read_text()
    assert "clips: 36 to train on, 4 held out, 2 of other splits are left alone" in said
    numbers = "11 numbers (8 latents and 3 of the labels that the decoder is told)"
    assert f"1024 values become {numbers}" in said
    shown = CliRunner().invoke(model_command, ["show", "tones", "--models", str(model_dir.parent)])
    assert f"a clip: {numbers}" in shown.output
    listed = CliRunner().invoke(model_command, ["list", "--models", str(model_dir.parent), "--json"])
    assert (json.loads(listed.output)["numbers"], json.loads(listed.output)["latent_dim"]) == (11, 8)
    assert "an epoch of 9 steps" in said
    assert "epoch 60 of 60" in said
    assert "labels that can be sampled: instrument=flute|reed; pitch=4 to 24" in said
    assert "label that cannot be sampled: split, because it divides the recordings" in said
    examples = sorted(file.name for file in (model_dir.parent / "tones.examples").iterdir())
    assert examples == [f"{n}-{kind}.wav" for n in range(1, 5) for kind in ("original", "reconstruction")]


def test_the_record_holds_conditions_and_options_and_quantiles(model_dir: Path) -> None:
    record = read_record(model_dir)
    assert [condition.label for condition in record.conditions] == ["instrument", "pitch"]
    assert (record.architecture, record.latent_dim, record.vector_dim) == ("spectra", 8, 11)
    assert (record.training["spectrograms"], record.training["held_out"]) == (36, 4)
    assert record.training["augment"] is False
    quantiles = record.quality["log_spectral_distance_quantiles_db"]
    assert list(quantiles) == ["0.5", "0.9", "0.99"]
    assert 0 < quantiles["0.5"] <= quantiles["0.9"] <= quantiles["0.99"]


def loudest_bin(db: np.ndarray) -> int:
    return int(db.max(axis=1).argmax())


@pytest.mark.parametrize("pitch", [8, 18])  # in no training clip
def test_a_combination_that_was_never_heard_can_be_sampled(model: Model, pitch: int) -> None:
    drawn = from_model.sample(model, [1, 2], labels={"instrument": "flute", "pitch": str(pitch)})
    assert drawn.labels == [{"instrument": "flute", "pitch": pitch}] * 2
    assert [abs(loudest_bin(db) - pitch) <= 1 for db in drawn.spectrograms] == [True, True]


def test_a_number_between_can_be_sampled(model: Model) -> None:
    low, between, high = (
        from_model.sample(model, [1], labels={"instrument": "flute", "pitch": pitch}, temperature=0).spectrograms[0]
        for pitch in (14, 15, 16)
    )
    assert np.abs(between - low).mean() > 0.1
    assert np.abs(between - high).mean() > 0.1


def test_a_clips_own_labels_win_over_what_the_encoder_predicts(model: Model, dataset_dir: Path) -> None:
    with Dataset.open(dataset_dir) as dataset:
        source = DatasetSource(dataset)
        db = source.read_db(np.array([0]))
    own, other = (model.encode(db, labels=[{"instrument": "flute", "pitch": pitch}])[0] for pitch in (4, 20))
    assert (own[-1], other[-1]) == (4, 20)
    np.testing.assert_array_equal(own[:8], other[:8])
    predicted = model.encode(db)[0]
    assert 4 <= predicted[-1] <= 24
    assert predicted[8:10].sum() == pytest.approx(1, abs=1e-5)
    unknown = model.encode(db, labels=[{"instrument": "harp"}])[0]
    np.testing.assert_allclose(unknown, predicted, atol=1e-5)


def test_the_way_between_two_clips_leads_through_the_numbers_between(model: Model, dataset_dir: Path) -> None:
    with Dataset.open(dataset_dir) as dataset:
        db = DatasetSource(dataset).read_db(np.array([0, 1]))
    clips = [
        SourceClip(spectrogram=one, duration_s=0.06, labels={"instrument": name, "pitch": pitch})
        for one, name, pitch in zip(db, ("flute", "reed"), (10, 20), strict=True)
    ]
    made = from_model.interpolate(model, [(clips[0], clips[1])] * 3, [0, 0.25, 1])
    np.testing.assert_allclose([clip.array[-3:] for clip in made.latents], [[1, 0, 10], [0.75, 0.25, 12.5], [0, 1, 20]])
    varied = from_model.vary(model, clips[:1], seeds=[1], temperature=1)
    np.testing.assert_array_equal(varied.latents[0].array[-3:], [1, 0, 10])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"pitch": "30"}, "expected a number from 4 to 24"),
        ({"instrument": "harp"}, "expected one of flute, reed"),
        ({"bow": "up"}, r"labels that it knows: instrument=flute\|reed; pitch=4 to 24"),
    ],
)
def test_a_submission_of_what_was_not_learnt_is_refused(model_dir: Path, labels: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_labels(read_record(model_dir), labels)
    require_labels(read_record(model_dir), {"pitch": "15.5", "instrument": "reed"})


def test_a_time_limit_ends_the_training_and_the_learning_rate(dataset_dir: Path, tmp_path: Path) -> None:
    config = TrainingConfig.for_architecture(
        "spectra", architecture_config=SIZES, latent_dim=8, epochs=10_000, batch_size=4, max_minutes=0.02
    )
    with Dataset.open(dataset_dir) as dataset:
        run = TrainingRun(DatasetSource(dataset), tmp_path / "m", config)
        while not run.finished:
            run.run_epoch()
    assert 1 <= run.progress.epoch < 10_000
    epoch_s = run.progress.seconds / run.progress.epoch
    assert run.progress.seconds > 0.02 * 60 - epoch_s
    assert float(run.trainer._optimizer.learning_rate) < 0.5 * config.learning_rate
