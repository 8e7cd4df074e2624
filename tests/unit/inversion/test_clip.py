from __future__ import annotations

import numpy as np
import pytest

from wavemill.inversion import METHODS, invert
from wavemill.inversion.clip import MARGIN_ROWS, lower_stft, measure, read_clip
from wavemill.inversion.methods import KNOWN
from wavemill.inversion.reconstruction import reconstruct
from wavemill.inversion.stft import stft_for
from wavemill.inversion.transforms import transforms_named

GEOMETRY = {"n_fft": 512, "hop_length": 256}


@pytest.fixture
def limited(signals, magnitudes):
    """Magnitudes (1, 257, 26) of a buzz, limited to 80 dB, with nothing but the floor from row 100 on."""
    wanted = magnitudes(signals["buzz"], **GEOMETRY)
    wanted[:, 100:] = 0
    return np.maximum(wanted, wanted.max() * np.float32(1e-4))


def test_the_range_is_that_of_the_magnitudes():
    clip = np.random.default_rng(1).random((129, 30), np.float32) + np.float32(0.01)
    clip[5, 7], clip[100, 3], clip[8, 8] = 3.0, 0.005, 0.0
    found = measure(clip)
    assert found.is_valid
    assert found.peak == 3.0
    assert found.floor == pytest.approx(0.005 * 10 ** (1 / 20))
    assert found.n_rows == 129


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -1e-30])
def test_what_is_no_magnitude_is_found_among_thousands(value):
    clip = np.ones((129, 33), np.float32)
    clip[128, 32] = value
    assert not measure(clip).is_valid


def test_rows_at_the_floor_throughout_are_empty_and_others_are_not(limited):
    assert measure(limited[0]).n_rows == 100
    above = limited[0].copy()
    above[180, 12] *= 10 ** (1.1 / 20)
    assert measure(above).n_rows == 181


def test_a_flat_clip_has_no_empty_rows():
    assert measure(np.ones((129, 30), np.float32)).n_rows == 129
    assert measure(np.zeros((129, 30), np.float32)).n_rows == 0


def test_a_zero_with_a_sign_is_a_zero(signals, magnitudes):
    wanted = magnitudes(signals["buzz"], **GEOMETRY)
    wanted[:, 200:] = 0
    signed = wanted.copy()
    signed[:, 200:] = -0.0
    assert np.array_equal(invert(signed, **GEOMETRY), invert(wanted, **GEOMETRY))


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(129, 512), (128 - MARGIN_ROWS, 256), (129 - MARGIN_ROWS, 512), (64 - MARGIN_ROWS, 128)]
)
def test_the_rate_is_halved_as_long_as_the_rows_fit(n_rows, expected):
    full = stft_for(512, 256, 26, 6_500)
    work = lower_stft(full, n_rows, hop_unit=2)
    assert work.n_fft == expected
    assert work.n_fft / work.hop_length == 2
    assert work.n_frames == 26
    assert work.n_samples == pytest.approx(6_500 * expected / 512, abs=2)


def test_a_hop_that_cannot_be_halved_keeps_its_rate():
    assert lower_stft(stft_for(512, 255, 26), 20, hop_unit=1).hop_length == 255
    assert lower_stft(stft_for(512, 250, 26), 20, hop_unit=2).hop_length == 250
    assert lower_stft(stft_for(198, 60, 26), 20, hop_unit=1).n_fft == 198


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hop_length", [256, 128, 100])
def test_the_lower_rate_gives_the_same_sound(signals, magnitudes, method, hop_length):
    wanted = magnitudes(signals["buzz"], n_fft=512, hop_length=hop_length)
    wanted[:, 100:] = 0
    full = stft_for(512, hop_length, wanted.shape[2], 6_400)
    waveforms = []
    for lower_rate in (True, False):
        clip = read_clip(wanted, 0, stft=full, hop_unit=2, lower_rate=lower_rate)
        assert (clip.work is full) != lower_rate
        waveforms.append(np.empty(full.n_samples, np.float32))
        reconstruct(clip, KNOWN[method], 4 if KNOWN[method].n_iter else 0, transforms_named(None), waveforms[-1])
    assert np.linalg.norm(waveforms[0] - waveforms[1]) < 1e-3 * np.linalg.norm(waveforms[1])


def test_leaving_the_floor_out_changes_no_more_than_the_floor(limited):
    """The floor's own phases are unknown: with any, its energy is what it is."""
    waveform = invert(limited, **GEOMETRY)[0]
    without = limited.copy()
    without[:, 100:] = 0
    difference = waveform - invert(without, **GEOMETRY)[0]
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(waveform)
