from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from wavemill.audio.encoding import encode
from wavemill.audio.loudness import loudness_lufs, set_loudness, true_peak_dbtp


def sine(rate_hz: int, *, amplitude: float = 0.1, seconds: float = 3.0, hz: float = 997.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_a_sine_has_the_loudness_that_the_standard_gives_it(rate_hz: int) -> None:
    # BS.1770: a 997 Hz sine at full scale in one channel reads -3.01 LKFS.
    assert loudness_lufs(sine(rate_hz, amplitude=0.1), rate_hz) == pytest.approx(-23.01, abs=0.2)


def test_a_sound_shorter_than_the_gate_is_measured_as_if_silence_followed() -> None:
    long, short = (loudness_lufs(sine(16_000, seconds=s), 16_000) for s in (0.4, 0.2))
    assert short == pytest.approx(long - 3.01, abs=0.1)
    assert loudness_lufs(sine(16_000, seconds=1 / 16_000), 16_000) is None


def test_a_true_peak_between_samples_is_found() -> None:
    t = np.arange(4_800)
    signal = np.sin(2 * np.pi * 0.25 * t + np.pi / 4).astype(np.float32)  # every sample is 3 dB under the peak
    assert np.abs(signal).max() == pytest.approx(0.7071, abs=1e-3)
    assert true_peak_dbtp(signal[100:-100] * np.hanning(4_600).astype(np.float32), 48_000) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("lufs", [-30.0, -23.0, -16.0])
def test_the_loudness_asked_for_is_reached(lufs: float) -> None:
    signal = sine(16_000)
    made = set_loudness(signal, 16_000, lufs=lufs)
    assert loudness_lufs(signal * np.float32(made.gain), 16_000) == pytest.approx(lufs, abs=0.01)
    assert (made.after_lufs, made.limited) == (pytest.approx(lufs, abs=0.01), False)


def test_the_true_peak_stops_the_gain() -> None:
    click = np.zeros(16_000, np.float32)
    click[100:104] = [0.1, -0.2, 0.2, -0.1]
    encoded = encode(click, 16_000, form="float", loudness_lufs=-16.0)
    assert encoded.loudness.limited
    assert encoded.loudness.after_lufs < -16.0
    read, _ = soundfile.read(io.BytesIO(encoded.data), dtype="float32")
    assert true_peak_dbtp(read, 16_000) == pytest.approx(-1.0, abs=0.01)
    assert encoded.loudness.true_peak_dbtp == pytest.approx(-1.0, abs=0.01)


def test_silence_stays_as_it_is() -> None:
    quiet = sine(16_000, amplitude=1e-5)
    for signal in (np.zeros(16_000, np.float32), quiet):
        made = set_loudness(signal, 16_000, lufs=-23.0)
        assert (made.gain, made.before_lufs, made.after_lufs, made.limited) == (1.0, None, None, False)
    loud = set_loudness(np.ones(10, np.float32) * 2, 16_000, lufs=-23.0)
    assert loud.true_peak_dbtp <= -1.0 + 1e-6
