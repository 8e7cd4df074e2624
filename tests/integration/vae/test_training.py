from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.errors import ModelError, OutputError, TrainingError, UsageError
from wavemill.presets import Features
from wavemill.vae.package import get_weights, load_model, read_arrays
from wavemill.vae.training.checkpoint import checkpoint_file
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.run import TrainingRun, train

TINY = {"fine": 8, "coarse": 8, "frame": 8, "neck": 4, "encoder_depth": 1, "decoder_depth": 1, "frame_depth": 1}


class Blobs:
    """One blob each, at a place that four numbers tell: easy to learn, with labels."""

    name = "blobs"
    features = Features(
        preset="tiny", sample_rate_hz=8_000, n_fft=64, hop_length=16, n_samples=240, n_bins=32, n_frames=16
    )

    def __init__(self, n_items: int = 48) -> None:
        rng = np.random.default_rng(0)
        place = rng.uniform([6, 4, 2, 1.5], [26, 12, 6, 4], (n_items, 4))[..., None, None]
        bins, frames = np.mgrid[:32, :16]
        distance = ((bins - place[:, 0]) / place[:, 2]) ** 2 + ((frames - place[:, 1]) / place[:, 3]) ** 2
        self.db = np.maximum(-6 * distance, -80).astype(np.float32)
        self.labels = [{"digit": str(i % 2), "index": str(i)} for i in range(n_items)]
        self.recordings = range(n_items)

    def read_db(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.db[indices]


def config(**changes: Any) -> TrainingConfig:
    defaults = {"architecture_config": TINY, "latent_dim": 4, "epochs": 4, "batch_size": 8, "patience": 0, "seed": 5}
    return TrainingConfig(**(defaults | changes))


def weights(model_dir: Path) -> dict[str, NDArray[np.float32]]:
    return read_arrays(model_dir / "weights.npz")


@pytest.mark.parametrize("kind", ["vae", "ae"])
def test_training_reduces_the_error_on_what_was_held_out(tmp_path: Path, kind: str) -> None:
    reports = []
    eager = config(kind=kind, epochs=10, augment=False, learning_rate=1e-2, average_decay=0.9)
    train(Blobs(), tmp_path / "m", eager, progress=reports.append)
    assert [report.epoch for report in reports] == list(range(1, 11))
    assert reports[-1].validation_error < 0.75 * reports[0].validation_error
    assert (reports[-1].kl > 0) == (kind == "vae")


def test_the_course_architecture_learns(tmp_path: Path) -> None:
    reports = []
    sizes = {"filters": [16, 16, 8, 8, 8]}
    recipe = TrainingConfig.for_architecture(
        "course", architecture_config=sizes, epochs=8, batch_size=8, latent_dim=4, learning_rate=5e-3
    )
    train(Blobs(), tmp_path / "m", recipe, progress=reports.append)
    assert reports[-1].loss < 0.7 * reports[0].loss
    record = load_model(tmp_path / "m").record
    assert record.normalisation == {"scheme": "min-max"}
    assert record.training["objective"] == "course"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a/m", 5), ("b/m", 5), ("c/m", 6)):
        train(Blobs(), tmp_path / name, config(epochs=2, seed=seed))
    a, b, c = (weights(tmp_path / name / "m") for name in "abc")
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["decoder/pixels/kernel"], c["decoder/pixels/kernel"])


def interrupt_in_epoch(number: int) -> Blobs:
    class Interrupted(Blobs):
        reads = 0

        def read_db(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
            self.reads += 1
            if self.reads > (number - 1) * 7 + 3:  # five training and at least one validation batch an epoch
                raise KeyboardInterrupt
            return super().read_db(indices)

    return Interrupted()


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    digest_source = Blobs()
    train(digest_source, tmp_path / "whole" / "m", config())
    with pytest.raises(KeyboardInterrupt):
        train(interrupt_in_epoch(3), tmp_path / "cut" / "m", config())
    assert not (tmp_path / "cut" / "m" / "model.json").exists()
    reports = []
    train(digest_source, tmp_path / "cut" / "m", config(), resume=True, progress=reports.append)
    assert [report.epoch for report in reports] == [3, 4]
    whole, cut = weights(tmp_path / "whole" / "m"), weights(tmp_path / "cut" / "m")
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    assert not checkpoint_file(tmp_path / "cut" / "m").exists()


def test_resuming_with_other_options_or_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    run = TrainingRun(Blobs(), tmp_path / "m", config(), resume=False)
    run.run_epoch()
    with pytest.raises(UsageError, match=r"other options \(beta, seed\)"):
        train(Blobs(), tmp_path / "m", config(beta=1.0, seed=9), resume=True)
    with pytest.raises(UsageError, match="no training to resume"):
        train(Blobs(), tmp_path / "other", config(), resume=True)


def test_a_resumed_training_may_have_more_epochs(tmp_path: Path) -> None:
    TrainingRun(Blobs(), tmp_path / "m", config(epochs=1)).run_epoch()
    reports = []
    train(Blobs(), tmp_path / "m", config(epochs=3), resume=True, progress=reports.append)
    assert [report.epoch for report in reports] == [2, 3]


def test_a_training_that_learns_nothing_fails_and_can_be_finished_all_the_same(tmp_path: Path) -> None:
    stuck = config(epochs=20, learning_rate=1e-30, average_decay=0.0)
    with pytest.raises(TrainingError, match="nothing was learnt in 100 steps"):
        train(Blobs(), tmp_path / "m", stuck)
    assert not (tmp_path / "m" / "model.json").exists()
    train(Blobs(), tmp_path / "m", stuck, resume=True, finish=True)
    assert load_model(tmp_path / "m").record.training["epochs_done"] == 20


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    TrainingRun(Blobs(), tmp_path / "m", config(), resume=False).run_epoch()
    file = checkpoint_file(tmp_path / "m")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be read"):
        train(Blobs(), tmp_path / "m", config(), resume=True)


def test_training_stops_when_the_held_out_error_no_longer_falls_and_keeps_the_best(tmp_path: Path) -> None:
    reports = []
    stuck = config(epochs=30, patience=2, learning_rate=1e-30, average_decay=0.0)
    train(Blobs(), tmp_path / "m", stuck, progress=reports.append)
    assert len(reports) == 3
    assert [report.best for report in reports] == [True, False, False]
    training = load_model(tmp_path / "m").record.training
    assert (training["best_epoch"], training["epochs_done"]) == (1, 3)


def test_the_saved_model_tells_how_it_came_about_and_can_be_used(tmp_path: Path) -> None:
    source = Blobs()
    digest = train(source, tmp_path / "m", config(), evaluate=lambda model, source, indices: {"items": len(indices)})
    model = load_model(tmp_path / "m")
    assert model.digest == digest
    assert model.record.quality == {"items": 5}
    assert model.record.training["spectrograms"] == 43
    assert model.record.training["seed"] == 5
    assert json.loads((tmp_path / "m" / "model.json").read_text())["architecture_config"] == TINY
    assert model.record.labels == {"digit": ["0", "1"]}
    assert (model.lengths.label, model.lengths.values) == ("digit", ["0", "1"])
    zeros = model.sample_latents([3, 4], labels={"digit": "0"}, temperature=0).latents
    assert np.array_equal(zeros[0], zeros[1]), "the middle of what was learnt, and the take's number is no label"
    _, latents = model.reconstruct(source.db)
    np.testing.assert_allclose(latents[0::2].mean(axis=0), zeros[0], atol=0.5)


def test_a_training_can_start_from_a_model(tmp_path: Path) -> None:
    source = Blobs()
    train(source, tmp_path / "first", config(epochs=6, learning_rate=1e-2, average_decay=0.9))
    init = load_model(tmp_path / "first")
    for kind in ("vae", "ae"):
        reports = []
        train(source, tmp_path / kind, config(kind=kind, epochs=1), init=init, progress=reports.append)
        assert reports[0].validation_error < 1.1 * init.record.training["best_validation_error"]
        assert load_model(tmp_path / kind).record.training["init"] == f"first, {init.digest}"
    with pytest.raises(ModelError, match="expected shape"):
        train(source, tmp_path / "other", config(latent_dim=5), init=init)


def test_a_training_that_starts_from_a_model_holds_out_what_that_did_and_records_what_it_heard(tmp_path: Path) -> None:
    source, one = Blobs(), {"epochs": 1}
    train(source, tmp_path / "first", config(validation_label="index=5, 6", **one), added=[Blobs(12)])
    first = load_model(tmp_path / "first")
    assert first.record.training["held_out"] == 2
    train(source, tmp_path / "second", config(**one), init=first)
    second = load_model(tmp_path / "second")
    train(source, tmp_path / "third", config(validation_label="index=7", **one), init=second)
    third = load_model(tmp_path / "third")
    assert [model.record.training["validation_label"] for model in (second, third)] == ["index=5, 6", "index=7"]
    was_first = {"dataset": "blobs", "validation_label": "index=5, 6", "added": ["blobs"], "added_share": 0.2}
    was_second = {"dataset": "blobs", "validation_label": "index=5, 6", "added": [], "init": f"first, {first.digest}"}
    assert "added_share" not in third.record.training
    assert third.record.training["ancestors"] == [
        {"model": f"second, {second.digest}", **was_second},
        {"model": f"first, {first.digest}", **was_first, "init": None},
    ]


def test_a_folder_that_cannot_be_written_is_noticed_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "recogniser.json").write_text("{}")
    reports = []
    with pytest.raises(OutputError, match="holds a recogniser"):
        train(Blobs(), tmp_path, config(epochs=1), progress=reports.append)
    assert reports == []


def test_the_last_weights_are_kept_when_nothing_waits_for_the_best(tmp_path: Path) -> None:
    train(Blobs(), tmp_path / "good", config(epochs=6, learning_rate=1e-2, average_decay=0.9, augment=False))
    init = load_model(tmp_path / "good")
    shaken = config(epochs=3, learning_rate=0.05, average_decay=0.0, augment=False)
    reports = []
    train(Blobs(), tmp_path / "last", shaken, init=init, progress=reports.append)
    assert reports[-1].validation_error > init.record.training["best_validation_error"]
    run = TrainingRun(Blobs(), tmp_path / "again", shaken, init=init)
    while not run.finished:
        run.run_epoch()
    last = weights(tmp_path / "last")
    assert all(np.array_equal(last[name], array) for name, array in get_weights(run.network).items())


def test_added_spectrograms_are_learnt_from_and_stay_out_of_the_prior(tmp_path: Path) -> None:
    class Strangers(Blobs):
        reads = 0

        def read_db(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
            self.reads += len(indices)
            return super().read_db(indices)

    strangers = Strangers()
    strangers.labels = [{"digit": "9"} for _ in strangers.labels]
    train(Blobs(), tmp_path / "m", config(epochs=2, added_share=0.5), added=[strangers])
    assert strangers.reads >= 2 * 40
    record = load_model(tmp_path / "m").record
    assert record.labels == {"digit": ["0", "1"]}
    assert record.training["spectrograms"] == 43
    assert record.training["held_out"] == 5
