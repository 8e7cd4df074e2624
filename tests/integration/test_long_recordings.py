"""Recordings of any length, from files to sound, without Celery, on both databases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.bench import Bench

from wavemill.dataset import extents
from wavemill.dataset.build import build
from wavemill.operations.requests import DecodeParams, InvertParams, ReconstructParams
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


def test_a_huge_recording_at_full_scale_keeps_its_level(
    bench: Bench, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(3).standard_normal(LENGTHS["long"])
    source = np.clip(0.45 * noise, -1, 1)
    soundfile.write(audio / "long.wav", source, 8_000)
    monkeypatch.setattr(extents, "MOST_NUMBERS", 200 * 128)
    build(audio, tmp_path / "huge", DIGITS, long="keep", jobs=1)
    made = sounds(rendered(bench, tmp_path / "huge", "invert", "out"))["long"]
    assert 10 * np.log10(np.mean(made**2) / np.mean(source**2)) == pytest.approx(0, abs=0.5)


def test_latents_of_any_length_decode_to_the_bytes_of_the_reconstruction(bench: Bench, kept: Path) -> None:
    params = ReconstructParams(keep_latents=True, format="float")
    made = rendered(bench, kept, "reconstruct", "made", model="small", params=params)
    encoded = rendered(bench, kept, "encode", "encoded", model="small")
    shapes = {job.spectrogram_id: np.load(job.latent_path).shape for job in encoded.jobs()}
    assert shapes == {"short": (8,), "frame": (8,), "long": (7, 8)}
    wanted = sounds(made)
    for batch in (made, encoded):
        folder = Path(next(iter(batch.jobs())).latent_path).parent
        params = DecodeParams(latents=str(folder), format="float")
        decoded = bench.producer.decode(list(LENGTHS), model="small", output=bench.folder / "decoded", params=params)
        bench.render(decoded)
        for name, sound in sounds(decoded).items():
            np.testing.assert_array_equal(sound, wanted[name])


def test_clips_of_different_lengths_are_interpolated(bench: Bench, kept: Path) -> None:
    ends = sounds(rendered(bench, kept, "reconstruct", "ends", model="small"))
    pairs = [("short", "long"), ("long", "frame")]
    batch = bench.producer.interpolate(pairs, steps=3, dataset=kept, model="small", output=bench.folder / "between")
    bench.render(batch)
    made = sounds(batch)
    for one, other in pairs:
        steps = [made[f"{one}_to_{other}_step-{k}-of-3"] for k in (1, 2, 3)]
        assert len(steps[1]) == pytest.approx((LENGTHS[one] + LENGTHS[other]) / 2, abs=1)
        np.testing.assert_allclose(steps[0], ends[one], atol=1e-3)
        np.testing.assert_allclose(steps[2], ends[other], atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_frames": 128, "starts": [0]}, "7 levels were given for 1 windows"),
        ({"n_frames": 10**9}, "n_frames 1000000000 is no length"),
        ({"starts": [0, 1]}, "the windows over"),
        ({"peak_db": [1.0]}, "1 levels were given for 7 windows"),
    ],
)
def test_a_file_that_does_not_fit_its_latents_is_refused(
    bench: Bench, kept: Path, changed: dict[str, object], said: str
) -> None:
    batch = rendered(bench, kept, "encode", "out", model="small")
    [path] = (Path(job.latent_path).with_suffix(".json") for job in batch.jobs() if job.spectrogram_id == "long")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    params = DecodeParams(latents=str(path.parent))
    decoded = bench.producer.decode(["long"], model="small", output=bench.folder / "decoded", params=params)
    bench.render(decoded)
    [job] = decoded.jobs()
    assert job.state == "failed"
    assert said in job.error


@pytest.mark.parametrize("method", ["pghi", "griffin-lim", "fine"])
def test_every_method_takes_any_length(bench: Bench, kept: Path, method: str) -> None:
    batch = rendered(bench, kept, "invert", "out", params=InvertParams(method=method))
    assert {name: len(sound) for name, sound in sounds(batch).items()} == LENGTHS
