"""Log-mel features from recordings to sound: dataset, training, the library, the queue's rendering."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from support.outputs import check_outputs

from wavemill.dataset.decibels import read_db
from wavemill.dataset.index import Dataset
from wavemill.errors import PresetMismatchError
from wavemill.generation import SoundGenerator
from wavemill.presets import preset
from wavemill.rendering.renderer import Renderer
from wavemill.settings import Settings
from wavemill.vae.package import load_model
from wavemill_producer import Producer
from wavemill_producer.cli.dataset import dataset as dataset_command
from wavemill_worker.cli.train import train as train_command


@pytest.fixture(scope="module")
def mel_dataset(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mel") / "clips"
    arguments = ["build", str(clips), str(folder), "--preset", "digits-mel", "--json"]
    result = CliRunner().invoke(dataset_command, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["built"] == 20
    return folder


@pytest.fixture(scope="module")
def mel_models(mel_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    options = ["--epochs", "1", "--batch-size", "4", "--latent-dim", "4", "--json"]
    arguments = [str(mel_dataset), str(models / "mel"), *options]
    assert CliRunner().invoke(train_command, arguments, catch_exceptions=False).exit_code == 0
    return models


def test_show_tells_the_kind_of_the_features(mel_dataset: Path) -> None:
    shown = CliRunner().invoke(dataset_command, ["show", str(mel_dataset)], catch_exceptions=False).stdout
    assert "preset digits-mel, 8000 Hz, n_fft 256, hop 64, 80 x 128, 1.016 s, range 80 dB, log-mel" in shown


def test_a_trained_model_turns_mel_spectrograms_into_sound_of_the_source_s_length(
    mel_dataset: Path, mel_models: Path
) -> None:
    generator = SoundGenerator(load_model("mel", models_dir=mel_models))
    assert generator.model.features == preset("digits-mel")
    with Dataset.open(mel_dataset) as dataset:
        entries = list(dataset.get_many(sorted(dataset.ids())).values())
        spectrograms = np.stack([read_db(dataset, entry) for entry in entries])
    durations_s = [entry.duration_s for entry in entries]
    made = generator.reconstruct(spectrograms, durations_s=durations_s)
    assert [len(sound) for sound in made.audio] == [round(8_000 * s) for s in durations_s]
    assert all(np.isfinite(sound).all() and sound.any() for sound in made.audio)
    alone = generator.reconstruct(spectrograms[7:8], durations_s=durations_s[7:8])
    np.testing.assert_array_equal(alone.audio[0], made.audio[7])


def test_a_batch_over_mel_spectrograms_is_rendered_and_the_originals_keep_their_level(
    mel_dataset: Path, mel_models: Path, clips: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", models=mel_models, broker_url="redis://127.0.0.1:1/0")
    with Producer(settings) as producer, Dataset.open(mel_dataset) as dataset:
        batch = producer.reconstruct(dataset.ids(), dataset=mel_dataset, model="mel", output=tmp_path / "out")
        renderer = Renderer(producer.database, settings, worker_id="mel", n_threads=2, stop=threading.Event())
        renderer.render_chunk(batch.id, 0, 10_000)
        renderer.close()
        check_outputs(batch, expect_done=20)
        for job in batch.jobs():
            recording, _ = soundfile.read(clips / f"{job.spectrogram_id}.wav")
            original, _ = soundfile.read(tmp_path / "out" / job.original_path)
            gain = job.quality["original_gain"]  # where the peak would have been over full scale
            level_db = 10 * np.log10(np.mean((original / gain) ** 2) / np.mean(recording[: len(original)] ** 2))
            assert level_db == pytest.approx(0, abs=0.5)


def test_a_model_of_mel_bands_refuses_a_dataset_of_another_kind(
    mel_models: Path, small_dataset: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", models=mel_models, broker_url="redis://127.0.0.1:1/0")
    with Producer(settings) as producer, pytest.raises(PresetMismatchError, match="--preset digits-mel"):
        producer.reconstruct(["0_anna_0"], dataset=small_dataset, model="mel", output=tmp_path / "out")
