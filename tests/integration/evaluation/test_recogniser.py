from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.errors import ModelChangedError, ModelError, OutputError, UsageError
from wavemill.recogniser.package import load_recogniser
from wavemill.recogniser.recordings import Recordings
from wavemill.recogniser.training import RecogniserConfig, train_recogniser
from wavemill.vae.folder.finding import list_models
from wavemill_producer.cli.main import run
from wavemill_worker.cli.recogniser import recogniser as command

from .conftest import Material, invoke


def test_a_recogniser_learns_the_labels_in_the_names_and_hears_them_in_another_take(material: Material) -> None:
    ear = load_recogniser(material.recogniser)
    assert ear.labels == {"digit": list("0123456789"), "speaker": ["anna", "ben", "clara", "dan"]}
    files = sorted(material.recordings.glob("*_1.wav"))
    heard = ear.hear([soundfile.read(file, dtype="float32")[0] for file in files], 8_000)
    assert heard.accuracy("digit", [file.name[0] for file in files]) > 0.5  # a tenth by chance
    assert heard.accuracy("speaker", [file.name.split("_")[1] for file in files]) > 0.6  # a quarter by chance
    assert heard.embedding.shape == (20, 64)
    for rows in heard.probabilities.values():
        assert rows.sum(axis=1) == pytest.approx(np.ones(20), abs=1e-5)


def test_a_sound_is_heard_alone_as_among_others(material: Material) -> None:
    ear = load_recogniser(material.recogniser)
    sounds = [soundfile.read(file, dtype="float32")[0] for file in sorted(material.recordings.glob("*.wav"))]
    alone, among = ear.hear(sounds[3:4], 8_000), ear.hear(sounds, 8_000)
    assert alone.probabilities["digit"][0] == pytest.approx(among.probabilities["digit"][3], abs=1e-4)


def test_the_card_says_whose_recordings_they_were_and_how_well_it_hears(material: Material) -> None:
    card = (material.recogniser / "README.md").read_text()
    assert "Made by a synthesiser." in card
    assert "CC0" in card
    shown = json.loads(invoke(command, "show", material.recogniser, "--json").stdout)
    assert shown["training"]["held_out"] == "index=1"
    assert shown["training"]["recordings"] == shown["quality"]["held_out_recordings"] == 20
    assert 0 <= shown["quality"]["digit"]["calibration_error"] <= 1


def test_a_recogniser_is_no_model_and_a_changed_one_is_refused(material: Material, tmp_path: Path) -> None:
    folder = shutil.copytree(material.recogniser, tmp_path / "ear")
    assert list_models(tmp_path) == []
    record = json.loads((folder / "recogniser.json").read_text())
    record["temperatures"]["digit"] = 0.01
    (folder / "recogniser.json").write_text(json.dumps(record))
    with pytest.raises(ModelChangedError, match=r"recogniser\.json"):
        load_recogniser(folder)
    with pytest.raises(ModelError, match="wavemill recogniser train"):
        load_recogniser(tmp_path / "nowhere")


def test_the_same_seed_trains_the_same_recogniser(material: Material, tmp_path: Path) -> None:
    config = RecogniserConfig(held_out="index=1", epochs=1)
    for name in ("first", "second"):
        train_recogniser(Recordings(material.recordings), tmp_path / name, config)
    first, second = (load_recogniser(tmp_path / name) for name in ("first", "second"))
    for one, other in zip(first.network.weights, second.network.weights, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), abs=2e-3), one.path


def test_what_a_folder_holds_is_never_lost_unasked(
    material: Material, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--held-out", "index=1", "--epochs", "1"]
    model = shutil.copytree(models / "small", tmp_path / "model")
    ear = shutil.copytree(material.recogniser, tmp_path / "ear")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    cases = [(model, [], 2), (model, ["--overwrite"], 1), (ear, [], 2), (tmp_path / "notes", [], 2)]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for folder, options, code in cases:
        assert run(["recogniser", "train", str(material.recordings), str(folder), *short, *options]) == code
        assert str(folder) in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert run(["recogniser", "train", str(material.recordings), str(ear), *short, "--overwrite"]) == 0
    assert load_recogniser(ear).record.training["epochs"] == 1


def test_that_a_recogniser_cannot_be_saved_is_noticed_before_the_training(material: Material, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    epochs = []
    with pytest.raises(OutputError, match="cannot be written"):
        train_recogniser(
            Recordings(material.recordings),
            tmp_path / "file" / "ear",
            RecogniserConfig(held_out="index=1", epochs=1),
            progress=lambda epoch, loss: epochs.append(epoch),
        )
    assert epochs == []


@pytest.mark.parametrize("rule", ["index=7", "index=0,1", "voice=anna"])
def test_a_rule_that_holds_out_nothing_or_everything_is_refused(material: Material, tmp_path: Path, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        train_recogniser(Recordings(material.recordings), tmp_path / "ear", RecogniserConfig(held_out=rule))


def test_recordings_without_labels_are_refused(material: Material, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    shutil.copy(next(material.recordings.glob("*.wav")), tmp_path / "recordings" / "nameless.wav")
    with pytest.raises(UsageError, match="label"):
        train_recogniser(Recordings(tmp_path / "recordings"), tmp_path / "ear", RecogniserConfig())
