from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.inversion import METHODS, invert
from wavemill.inversion.gpu import BLOCK, invert_on_gpu


@pytest.fixture
def batch(signals, magnitudes):
    """Sounds at several levels, silence, and sound in the lowest rows only: (6, 257, 26)."""
    sounds = [signals["buzz"], 30 * signals["noise"], signals["sweep"], 0 * signals["tone"], signals["tone"]]
    wanted = magnitudes(*sounds, signals["buzz"], n_fft=512, hop_length=256)
    wanted[5, 100:] = 0
    return wanted


@pytest.mark.parametrize("method", METHODS)
def test_its_operations_give_the_waveforms_of_the_cpu(batch, method):
    n_iter = 6 if method == "griffin-lim" else None  # rounding grows with each
    arguments = {"n_fft": 512, "hop_length": 256, "length": 6_400, "method": method, "n_iter": n_iter}
    expected = invert(batch, **arguments)
    waveforms = invert_on_gpu(batch, **arguments, device="/CPU:0", n_threads=2)
    assert waveforms.shape == expected.shape
    assert waveforms.dtype == np.float32
    assert not waveforms[3].any()
    for waveform, wanted in zip(waveforms, expected, strict=True):
        assert np.linalg.norm(waveform - wanted) <= 2e-3 * np.linalg.norm(wanted)


def test_finer_frames_at_an_odd_hop_give_the_waveforms_of_the_cpu(signals, magnitudes):
    arguments = {"n_fft": 512, "hop_length": 125, "method": "fine"}
    wanted = magnitudes(signals["buzz"], signals["sweep"], n_fft=512, hop_length=125)
    for waveform, one in zip(
        invert_on_gpu(wanted, **arguments, device="/CPU:0"), invert(wanted, **arguments), strict=True
    ):
        assert np.linalg.norm(waveform - one) <= 2e-3 * np.linalg.norm(one)


def test_rough_clips_get_the_iterations_that_they_get_on_the_cpu(magnitudes):
    hits = np.random.default_rng(2).standard_normal((2, 6_400)).astype(np.float32)
    hits[0, 300:] *= np.exp(-np.arange(6_100) / 200).astype(np.float32)
    wanted = magnitudes(*hits, n_fft=512, hop_length=128)
    arguments = {"n_fft": 512, "hop_length": 128, "length": 6_400}
    expected = invert(wanted, **arguments, peaks=[np.nan, 2.0])
    plain = invert(wanted, **arguments, n_iter=4)
    waveforms = invert_on_gpu(wanted, **arguments, device="/CPU:0", peaks=[np.nan, 2.0])
    assert np.abs(expected[1]).max() < 2.6 < np.abs(plain[1]).max()
    for waveform, one, other in zip(waveforms, expected, plain, strict=True):
        assert np.linalg.norm(other - one) > 0.05 * np.linalg.norm(one)  # both are rough
        assert np.linalg.norm(waveform - one) <= 1e-2 * np.linalg.norm(one)


def test_a_clip_has_the_same_bytes_alone_and_in_a_batch_of_several_blocks(batch):
    arguments = {"n_fft": 512, "hop_length": 256, "device": "/CPU:0"}
    many = np.concatenate([batch] * 6)[: BLOCK + 2]
    together = invert_on_gpu(many, **arguments)
    assert together.shape == (BLOCK + 2, 25 * 256)
    assert invert_on_gpu(many[BLOCK + 1 :], **arguments).tobytes() == together[BLOCK + 1 :].tobytes()


def test_it_refuses_what_the_cpu_refuses_and_names_the_clip(batch):
    many = np.concatenate([batch] * 6)
    many[BLOCK + 1, 3, 3] = np.nan
    with pytest.raises(UsageError, match=f"clip {BLOCK + 1}: 1 NaN"):
        invert_on_gpu(many, n_fft=512, hop_length=256, device="/CPU:0")
    with pytest.raises(UsageError, match="no inversion method"):
        invert_on_gpu(batch, n_fft=512, hop_length=256, method="magic", device="/CPU:0")


def test_tensorflow_is_imported_by_the_call_alone():
    program = "import sys, wavemill.inversion.gpu; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
