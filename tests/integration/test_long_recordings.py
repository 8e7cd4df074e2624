"""Recordings of any length, from files to sound, without Celery, on both databases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.bench import Bench

from wavemill.dataset import extents
from wavemill.dataset.build import build
from wavemill.operations.requests import EncodeParams, InvertParams, ReconstructParams
from wavemill.presets import preset
from wavemill_producer import Batch

LENGTHS = {"short": 900, "frame": 8_128, "long": 30_001}  # a frame has 8,128 samples
DIGITS = preset("digits")


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    for number, (name, n_samples) in enumerate(LENGTHS.items()):
        time_s = np.arange(n_samples) / 8_000
        tone = np.sin(2 * np.pi * (300 + 100 * number) * time_s) * (0.2 + 0.1 * np.sin(2 * np.pi * 3 * time_s))
        soundfile.write(folder / f"{name}.wav", tone, 8_000)
    return folder


@pytest.fixture
def kept(audio: Path, tmp_path: Path) -> Path:
    build(audio, tmp_path / "kept", DIGITS, long="keep", jobs=1)
    return tmp_path / "kept"


def rendered(bench: Bench, dataset: Path, operation: str, name: str, **options: object) -> Batch:
    output = bench.folder / name
    batch: Batch = getattr(bench.producer, operation)(list(LENGTHS), dataset=dataset, output=output, **options)
    bench.render(batch)
    return batch


def sounds(batch: Batch, kind: str = "generated") -> dict[str, np.ndarray]:
    return {job.spectrogram_id: soundfile.read(getattr(job, f"{kind}_path"))[0] for job in batch.jobs()}


def test_each_sound_has_the_length_and_level_of_its_source(bench: Bench, audio: Path, kept: Path) -> None:
    made = sounds(rendered(bench, kept, "invert", "out"))
    for name, n_samples in LENGTHS.items():
        source, _ = soundfile.read(audio / f"{name}.wav")
        assert len(made[name]) == n_samples
        level_db = 10 * np.log10(np.sum(made[name] ** 2) / np.sum(source**2))
        assert abs(level_db) < 0.5, name


def test_reconstructions_have_the_length_of_their_source(bench: Bench, kept: Path) -> None:
    batch = rendered(bench, kept, "reconstruct", "out", model="small")
    assert {name: len(sound) for name, sound in sounds(batch).items()} == LENGTHS
    assert {name: len(sound) for name, sound in sounds(batch, "original").items()} == LENGTHS
    assert all("log_spectral_distance_db" in job.quality for job in batch.jobs())


def test_huge_spectrograms_are_rendered_in_blocks_as_others_are_at_once(
    bench: Bench, kept: Path, monkeypatch: pytest.MonkeyPatch, audio: Path, tmp_path: Path
) -> None:
    options = {"model": "small"}
    at_once = rendered(bench, kept, "reconstruct", "at-once", **options)
    monkeypatch.setattr(extents, "MOST_NUMBERS", 200 * 128)
    build(audio, tmp_path / "huge", DIGITS, long="keep", jobs=1)
    in_blocks = rendered(bench, tmp_path / "huge", "reconstruct", "blocks", **options)
    assert in_blocks.status()["counts"]["done"] == 3
    for kind in ("generated", "original"):
        expected, made = sounds(at_once, kind), sounds(in_blocks, kind)
        for name, n_samples in LENGTHS.items():
            assert len(made[name]) == n_samples
            np.testing.assert_allclose(made[name], expected[name], atol=2e-3)
    assert not list((bench.folder / "blocks").rglob("*.large*"))


def test_latents_of_a_long_recording_are_refused_and_harm_no_other(bench: Bench, kept: Path) -> None:
    for operation, params in (
        ("encode", EncodeParams()),
        ("reconstruct", ReconstructParams(keep_latents=True)),
    ):
        batch = rendered(bench, kept, operation, operation, model="small", params=params)
        assert {job.spectrogram_id: job.state for job in batch.jobs()} == {
            "short": "done",
            "frame": "done",
            "long": "failed",
        }
        [failed] = batch.jobs(state="failed")
        assert "longer than the frame of the model" in failed.error


@pytest.mark.parametrize("method", ["pghi", "griffin-lim", "fine"])
def test_every_method_takes_any_length(bench: Bench, kept: Path, method: str) -> None:
    batch = rendered(bench, kept, "invert", "out", params=InvertParams(method=method))
    assert {name: len(sound) for name, sound in sounds(batch).items()} == LENGTHS
