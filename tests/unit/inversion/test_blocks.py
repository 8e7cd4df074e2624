from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.inversion import METHODS, invert, invert_blocks

GEOMETRY = {"n_fft": 256, "hop_length": 64}
LEAST = 24 * 4  # frames of a block


@pytest.fixture(scope="module")
def long_sound(signals):
    return np.concatenate([signals[name] for name in ("tone", "buzz", "sweep", "tone", "buzz", "noise")] * 2)


def blocks(wanted, **arguments):
    return list(invert_blocks(lambda a, b: wanted[:, a:b], wanted.shape[1], **GEOMETRY, **arguments))


@pytest.mark.parametrize("method", METHODS)
def test_a_clip_of_one_block_has_the_bytes_of_invert(signals, magnitudes, method):
    wanted = magnitudes(signals["buzz"], **GEOMETRY)
    (piece,) = blocks(wanted[0], method=method, length=6_390)
    assert piece.tobytes() == invert(wanted, **GEOMETRY, method=method, length=6_390)[0].tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", [0, 13, 9_000, -40, -9_000])
def test_the_pieces_have_together_the_wanted_length(long_sound, magnitudes, method, missing):
    wanted = magnitudes(long_sound, **GEOMETRY)[0]
    length = long_sound.size - missing
    pieces = blocks(wanted, method=method, length=length, block_frames=LEAST)
    assert len(pieces) > 3
    assert sum(piece.size for piece in pieces) == length
    assert all(np.isfinite(piece).all() for piece in pieces)


def test_a_tone_goes_on_over_the_borders_of_blocks(magnitudes):
    tone = np.sin(2 * np.pi * 0.1171 * np.arange(64_000)).astype(np.float32)
    waveform = np.concatenate(blocks(magnitudes(tone, **GEOMETRY)[0], length=tone.size, block_frames=LEAST))
    carrier = np.exp(-2j * np.pi * 0.1171 * np.arange(tone.size)) * waveform
    envelope = np.abs(np.convolve(carrier, np.hanning(256) / 64, "valid"))[500:-500]
    assert envelope.min() > 0.9  # two blocks out of phase would cancel each other
    assert envelope.max() < 1.1


def test_the_error_at_borders_is_that_elsewhere(long_sound, magnitudes):
    wanted = magnitudes(long_sound, **GEOMETRY)[0]
    waveform = np.concatenate(blocks(wanted, length=long_sound.size, block_frames=LEAST))
    whole = invert(wanted[None], **GEOMETRY, length=long_sound.size)[0]
    fine = [magnitudes(sound, n_fft=256, hop_length=16)[0] for sound in (long_sound, waveform, whole)]
    errors = [np.square(found - fine[0]).sum(axis=0) for found in fine[1:]]
    first, borders = LEAST - 16, np.zeros(fine[0].shape[1], bool)
    while first < wanted.shape[1] - LEAST // 4:
        borders[4 * first : 4 * (first + 16)] = True
        first += LEAST - 16
    in_blocks, in_whole = (error[borders].sum() / error.sum() for error in errors)
    assert in_blocks < 1.3 * in_whole
    assert errors[0].sum() < 1.3 * errors[1].sum()


def test_silence_between_blocks_and_at_the_start_stays_silent(signals, magnitudes):
    sound = np.concatenate([np.zeros(20_000, np.float32), signals["buzz"], np.zeros(20_000, np.float32)])
    waveform = np.concatenate(blocks(magnitudes(sound, **GEOMETRY)[0], length=sound.size, block_frames=LEAST))
    assert not waveform[:19_000].any()
    assert waveform[20_000:26_000].any()
    assert np.abs(waveform[28_000:]).max() < 1e-3 * np.abs(waveform).max()


def test_blocks_keep_the_peak_of_a_limited_recording(magnitudes):
    noise = np.clip(np.random.default_rng(5).standard_normal(40_000), -1.6, 1.6).astype(np.float32)
    wanted = magnitudes(noise, **GEOMETRY)[0]
    unknown, known = (np.concatenate(blocks(wanted, block_frames=200, peak=peak)) for peak in (np.inf, 1.6))
    assert np.abs(known).max() < 1.25 * 1.6 < 1.4 * 1.6 < np.abs(unknown).max()


def test_impossible_blocks_are_refused_at_the_call(signals, magnitudes):
    wanted = magnitudes(signals["tone"], **GEOMETRY)[0]
    with pytest.raises(UsageError, match="block_frames >= 96, 24 windows, received 95"):
        invert_blocks(lambda a, b: wanted[:, a:b], 100, **GEOMETRY, block_frames=95)
    with pytest.raises(UsageError, match="n_frames >= 1, received 0"):
        invert_blocks(lambda a, b: wanted[:, a:b], 0, **GEOMETRY)


@pytest.mark.parametrize("block_frames", [LEAST, 2_048])
def test_impossible_peaks_of_blocks_are_refused_at_the_call(signals, magnitudes, block_frames):
    wanted = magnitudes(signals["tone"], **GEOMETRY)[0]
    with pytest.raises(UsageError, match=r"expected peaks > 0.*received 0\.0"):
        invert_blocks(lambda a, b: wanted[:, a:b], wanted.shape[1], **GEOMETRY, block_frames=block_frames, peak=0.0)
