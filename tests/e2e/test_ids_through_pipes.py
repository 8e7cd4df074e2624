"""`wavemill dataset ids` into `wavemill submit --ids -`, in surroundings that know no UTF-8."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.stack import COMMAND

NAMES = [" lead", "trail ", "e\u0301", "\u00e9", "line\u2028end", "\u6f22\u5b57", "-dash", "per%cent", '"quoted"', "#"]


@pytest.mark.parametrize(
    "surroundings",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-16"},
    ],
    ids=["ascii terminal", "ascii file names"],
)
def test_every_id_survives(tmp_path: Path, surroundings: dict[str, str]) -> None:
    def wavemill(*arguments: str, given: bytes = b"") -> bytes:
        environment = {**os.environ, "WAVEMILL_HOME": str(tmp_path / "home"), **surroundings}
        return subprocess.run(
            [*COMMAND, *arguments],
            input=given,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout

    (tmp_path / "audio").mkdir()
    for k, name in enumerate(NAMES):
        soundfile.write(tmp_path / f"audio/{name}.wav", np.sin(np.arange(2_000) * (0.1 + k)), 8_000)
    wavemill("dataset", "build", "audio", "data-\u00e9", "--jobs", "1")
    ids = wavemill("dataset", "ids", "data-\u00e9")
    assert sorted(ids.decode().split("\n")) == sorted([*NAMES, ""])
    said = wavemill(
        "submit", "invert", "--dataset", "data-\u00e9", "--output", "out", "--ids", "-", "--dry-run", given=ids
    )
    assert b"would queue 10 jobs" in said
