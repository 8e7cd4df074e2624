from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wavemill
from wavemill.inversion import METHODS, invert

GEOMETRY = {"n_fft": 256, "hop_length": 64}


@pytest.fixture
def batch(signals, magnitudes):
    sounds = [signals[name] * level for name in ("tone", "sweep", "buzz", "noise") for level in (1.0, 0.3)]
    wanted = magnitudes(*sounds, **GEOMETRY)
    wanted[5] = 0
    return wanted


@pytest.mark.parametrize("method", METHODS)
def test_a_clip_has_the_same_bytes_alone_in_a_batch_and_at_any_place(batch, method):
    together = invert(batch, **GEOMETRY, method=method)
    backwards = invert(batch[::-1], **GEOMETRY, method=method)[::-1]
    alone = np.concatenate([invert(batch[i : i + 1], **GEOMETRY, method=method) for i in range(len(batch))])
    assert together.tobytes() == backwards.tobytes() == alone.tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_threads", [2, 3, 16])
def test_the_number_of_threads_changes_no_byte(batch, method, n_threads):
    expected = invert(batch, **GEOMETRY, method=method)
    assert invert(batch, **GEOMETRY, method=method, n_threads=n_threads).tobytes() == expected.tobytes()


def test_the_layout_of_the_array_changes_no_byte(batch):
    expected = invert(batch, **GEOMETRY).tobytes()
    frames_first = np.ascontiguousarray(batch.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert invert(frames_first, **GEOMETRY).tobytes() == expected
    assert invert(np.asfortranarray(batch), **GEOMETRY).tobytes() == expected
    assert invert(batch.astype(np.float64), **GEOMETRY).tobytes() == expected


def test_the_state_of_global_random_generators_changes_no_byte_and_is_left_alone(batch):
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = invert(batch, **GEOMETRY, method="griffin-lim", n_iter=2)
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.seed(2)
    assert invert(batch, **GEOMETRY, method="griffin-lim", n_iter=2).tobytes() == first.tobytes()


def test_the_input_is_left_as_it_was(batch):
    before = batch.tobytes()
    invert(batch, **GEOMETRY)
    assert batch.tobytes() == before
    batch.setflags(write=False)
    invert(batch, **GEOMETRY)


PROGRAM = """
import hashlib, json, numpy, numba.core.event
from wavemill.inversion import METHODS, invert
compiled = []
numba.core.event.register("numba:compile", listener := numba.core.event.RecordingListener())
magnitude = numpy.random.default_rng(0).random((2, 129, 30), numpy.float32)
waveforms = numpy.stack([invert(magnitude, n_fft=256, hop_length=64, method=method) for method in METHODS])
print(json.dumps([hashlib.sha256(waveforms).hexdigest(), len(listener.buffer)]))
"""


def run(cache: Path) -> tuple[str, int]:
    """Invert in a new process with its own cache folder: digest of the waveforms, number of compilations."""
    source = Path(wavemill.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    digest, n_compiled = json.loads(done.stdout)
    return digest, n_compiled


@pytest.mark.timeout(900)  # 20 s of processor time, of which a busy machine gives little
def test_a_second_process_compiles_nothing_and_makes_the_same_bytes(tmp_path):
    first_digest, n_compiled_first = run(tmp_path)
    second_digest, n_compiled_second = run(tmp_path)
    assert 0 < n_compiled_first < 300
    assert n_compiled_second == 0
    assert first_digest == second_digest
