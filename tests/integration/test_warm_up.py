"""A worker compiles before it says that it is ready."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import numpy as np
import numba.core.event

from wavemill.synthesis.sound import spectrograms_to_audio
from wavemill.synthesis.levels import Levels, restore_energy
from wavemill.presets import PRESETS
from wavemill.rendering.renderer import warm_up

numba.core.event.register("numba:compile", listener := numba.core.event.RecordingListener())
warm_up()
before = len(listener.buffer)
for features in PRESETS.values():
    db = np.random.default_rng(0).uniform(-60, 0, features.shape).astype(np.float32)
    restored, _ = restore_energy(db - 10, Levels.of(db, features), features)
    spectrograms_to_audio(restored[None], features)
print(before, len(listener.buffer) - before)
"""


@pytest.mark.timeout(900)  # 20 s of processor time, of which a busy machine gives little
def test_the_first_job_finds_everything_compiled(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    warming, later = map(int, done.stdout.split())
    assert warming > 0, "nothing was compiled, so this shows nothing"
    assert later == 0
