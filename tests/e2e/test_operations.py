"""Every subcommand of `wavemill submit`, as a user types it, through a real broker and a real worker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.stack import Stack

QUEUE = ["--output", "out", "--wait"]


@pytest.fixture(scope="module")
def given(living: Stack, small_dataset: Path) -> list[str]:
    return ["--dataset", str(small_dataset), "--model", "small"]


def _paths(living: Stack, submitted: dict[str, object], column: str = "generated_path") -> list[str]:
    """Return where a batch's outputs are, relative to its folder; every job must be done and every file there."""
    lines = living.cli("jobs", "--batch", submitted["batch_id"], "--json").stdout.splitlines()
    jobs = [json.loads(line) for line in lines]
    assert {job["state"] for job in jobs} == {"done"}, jobs
    root = living.folder / "out" / str(submitted["batch_id"])
    assert all(Path(job[column]).stat().st_size > 0 for job in jobs)
    return [str(Path(job[column]).relative_to(root)) for job in jobs]


def _sounds(living: Stack, submitted: dict[str, object]) -> list[str]:
    """Return the paths of a batch's sounds; every job must be done."""
    root = living.folder / "out" / str(submitted["batch_id"])
    return [str(root / path) for path in _paths(living, submitted)]


def test_sample(living: Stack, given: list[str]) -> None:
    submitted = living.json("submit", "sample", "--model", "small", "--count", 3, "--label", "digit=7", *QUEUE)
    assert _paths(living, submitted) == [f"generated/digit-7_seed-0_00000{k}.wav" for k in (1, 2, 3)]


def test_interpolate(living: Stack, given: list[str]) -> None:
    ends = ["--from", "7_anna_0", "--to", "4_dan_0"]
    submitted = living.json("submit", "interpolate", *given, *ends, "--steps", 3, *QUEUE)
    assert _paths(living, submitted) == [f"generated/7_anna_0_to_4_dan_0_step-{k}-of-3.wav" for k in (1, 2, 3)]
    pairs = living.folder / "pairs.txt"
    pairs.write_text("7_anna_0\t4_dan_0\n1_ben_0\t1_dan_0\n")
    submitted = living.json("submit", "interpolate", *given, "--pairs", pairs, "--steps", 2, *QUEUE)
    assert len(_paths(living, submitted)) == 4


def test_vary(living: Stack, given: list[str]) -> None:
    submitted = living.json("submit", "vary", *given, "--random", 2, "--count", 2, "--format", "flac", *QUEUE)
    paths = _paths(living, submitted)
    assert [path[-len("_vary-1.flac") :] for path in paths] == ["_vary-1.flac", "_vary-2.flac"] * 2


def test_encode_then_decode(living: Stack, given: list[str]) -> None:
    encoded = living.json("submit", "encode", *given, "--all", *QUEUE)
    assert len(_paths(living, encoded, "latent_path")) == 20
    latents = f"out/{encoded['batch_id']}/latents"  # relative: the worker need not stand where the user does
    decoded = living.json("submit", "decode", "--model", "small", "--latents", latents, *QUEUE)
    assert decoded["total"] == 20
    assert "generated/7_anna_0.wav" in _paths(living, decoded)


def test_latents_and_interpolations_of_a_recording_longer_than_a_frame(living: Stack, clips: Path) -> None:
    audio = living.folder / "long-audio"
    audio.mkdir()
    words = [soundfile.read(path)[0] for path in sorted(clips.glob("*.wav"))[:6]]
    soundfile.write(audio / "long.wav", np.concatenate(words), 8_000)
    soundfile.write(audio / "word.wav", words[0], 8_000)
    living.cli("dataset", "build", audio, "long-dataset", "--long", "keep")
    given = ["--dataset", "long-dataset", "--model", "small", "--format", "float", "--refine", 2]
    kept = living.json("submit", "reconstruct", *given, "--all", "--keep-latents", *QUEUE)
    made = {Path(path).stem: path for path in _sounds(living, kept)}
    latents = Path(made["long"]).parents[1] / "latents"
    decoded = living.json("submit", "decode", "--model", "small", "--latents", latents, "--format", "float", *QUEUE)
    for path in _sounds(living, decoded):
        np.testing.assert_array_equal(soundfile.read(path)[0], soundfile.read(made[Path(path).stem])[0])
    ends = ["--from", "word", "--to", "long"]
    between = living.json("submit", "interpolate", *given, *ends, "--steps", 3, *QUEUE)
    first, middle, last = (soundfile.read(path)[0] for path in sorted(_sounds(living, between)))
    np.testing.assert_allclose(first, soundfile.read(made["word"])[0], atol=1e-4)
    np.testing.assert_allclose(last, soundfile.read(made["long"])[0], atol=1e-4)
    assert len(first) < len(middle) < len(last)


def test_invert(living: Stack, small_dataset: Path) -> None:
    submitted = living.json("submit", "invert", "--dataset", small_dataset, "--random", 4, "--method", "pghi", *QUEUE)
    assert len(_paths(living, submitted)) == 4


def test_reconstruct_flags_what_is_far_and_jobs_lists_it(living: Stack, given: list[str]) -> None:
    submitted = living.json("submit", "reconstruct", *given, "--random", 2, *QUEUE)
    listed = living.cli("jobs", "--batch", submitted["batch_id"], "--flag", "far").stdout
    assert listed.count(" far ") == 2  # the small model is untrained
    assert "no jobs match" in living.cli("jobs", "--batch", submitted["batch_id"], "--flag", "silent").stdout


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["sample", "--model", "small", "--label", "digit=x"], "labels that it knows", 2),
        (["sample", "--model", "small", "--label", "seven"], "NAME=VALUE", 2),
        (["interpolate", "--dataset", ".", "--model", "small", "--from", "a"], "--to", 2),
        (["decode", "--model", "small", "--latents", "nowhere"], "nowhere", 2),
        (["invert", "--dataset", "nowhere", "--all"], "nowhere", 1),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(living: Stack, arguments: list[str], said: str, code: int) -> None:
    failed = living.cli("submit", *arguments, "--output", "out", expect=code)
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
