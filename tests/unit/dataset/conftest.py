"""Small recordings made of noise, and a dataset built from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.presets import preset

RATE_HZ = 8_000


def write_noise(
    path: Path, *, seed: int = 0, duration_s: float = 0.2, channels: int = 1, rate_hz: int = RATE_HZ
) -> None:
    """Write a recording of noise that differs by seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng(seed).uniform(-0.3, 0.3, (int(duration_s * rate_hz), channels))
    soundfile.write(path, signal, rate_hz)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a test builds its dataset."""
    return tmp_path / "dataset"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two digits by two speakers, three of each."""
    folder = tmp_path / "recordings"
    names = [f"{digit}_{speaker}_{k}.wav" for digit in (3, 7) for speaker in ("ann", "bob") for k in range(3)]
    for seed, name in enumerate(names):
        write_noise(folder / name, seed=seed)
    return folder


@pytest.fixture
def dataset(recordings: Path, tmp_path: Path) -> Iterator[Dataset]:
    """The dataset of `recordings` with preset `digits`."""
    build(recordings, tmp_path / "dataset", preset("digits"))
    with Dataset.open(tmp_path / "dataset") as opened:
        yield opened
