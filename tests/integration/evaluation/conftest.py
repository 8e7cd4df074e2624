"""Recordings of two takes a word, the second one noisy, and a recogniser trained on the first for a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from wavemill.dataset.build import build
from wavemill.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class Material:
    """Folders that tests may read and not change."""

    recordings: Path
    dataset: Path
    recogniser: Path


def invoke(command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="session")
def material(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Material:
    from wavemill_worker.cli.recogniser import recogniser

    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for file in clips.glob("*.wav"):
        signal, rate_hz = soundfile.read(file, dtype="float32")
        soundfile.write(folder / "recordings" / file.name, signal, rate_hz)
        noisy = signal + rng.normal(0, 0.003, len(signal))
        soundfile.write(folder / "recordings" / f"{file.stem[:-1]}1.wav", noisy, rate_hz)
    build(folder / "recordings", folder / "dataset", PRESETS["digits"], jobs=1)
    options = ("--held-out", "index=1", "--epochs", 120, "--data", "Made by a synthesiser.", "--licence", "CC0")
    trained = invoke(recogniser, "train", folder / "recordings", folder / "ear", *options, "--json")
    assert trained.exit_code == 0
    return Material(recordings=folder / "recordings", dataset=folder / "dataset", recogniser=folder / "ear")
