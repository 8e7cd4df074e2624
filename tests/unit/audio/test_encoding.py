from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from wavemill.audio.encoding import encode
from wavemill.errors import AudioError, UsageError
from wavemill.operations.formats import FORMATS, stored_rate_hz

RATE_HZ = 8_000
LOSSLESS = ["wav", "wav24", "float", "flac"]
LOSSY = ["ogg", "opus", "mp3"]


def noise(peak: float, *, samples: int = 4_000) -> np.ndarray:
    signal = np.random.default_rng(3).uniform(-1, 1, samples)
    return (signal * (peak / np.abs(signal).max())).astype(np.float32)


def tone(rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * 440 * t) * np.hanning(len(t))).astype(np.float32)


def decoded(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


@pytest.mark.parametrize("form", LOSSLESS)
def test_the_encoded_file_holds_the_signal(form: str) -> None:
    encoded = encode(noise(0.8), RATE_HZ, form=form)
    with soundfile.SoundFile(io.BytesIO(encoded.data)) as file:
        assert (file.format, file.subtype, file.samplerate, file.channels) == (*FORMATS[form][:2], RATE_HZ, 1)
        read = file.read(dtype="float32")
    np.testing.assert_allclose(read, noise(0.8), atol=1.1 / 2**15)
    assert encoded.gain == 1.0
    assert encoded.peak == pytest.approx(0.8)
    assert encoded.duration_s == 0.5
    assert (encoded.clipped, encoded.silent) == (0, False)


@pytest.mark.parametrize("peak", [0.9999, 1.0, -1.0, 1.153141, -1.3, 50.0])
@pytest.mark.parametrize("form", LOSSLESS)
def test_a_signal_over_full_scale_is_scaled_as_a_whole_and_not_clipped(form: str, peak: float) -> None:
    signal = noise(peak)
    encoded = encode(signal, RATE_HZ, form=form)
    read, _ = soundfile.read(io.BytesIO(encoded.data), dtype="float64")
    assert encoded.gain < 1.0
    assert encoded.clipped == 0
    assert np.abs(read).max() == pytest.approx(0.99, abs=2 / 2**15)
    np.testing.assert_allclose(read / encoded.gain, signal, atol=abs(peak) * 1.1 / 2**15)


def test_a_signal_that_fits_keeps_its_level() -> None:
    assert encode(noise(0.98), RATE_HZ).gain == 1.0


@pytest.mark.parametrize(("peak", "silent"), [(0.0, True), (0.00002, True), (0.0001, False)])
def test_what_would_be_all_zeros_in_16_bits_is_flagged_as_silent(peak: float, silent: bool) -> None:
    signal = np.full(100, peak, dtype=np.float32)
    assert encode(signal, RATE_HZ).silent is silent


@pytest.mark.parametrize("form", list(FORMATS))
def test_the_same_signal_gives_the_same_bytes_in_another_process_a_second_later(form: str) -> None:
    code = (
        "import sys, hashlib, numpy as np\n"
        "from wavemill.audio.encoding import encode\n"
        "signal = np.random.default_rng(3).uniform(-0.5, 0.5, 4_000).astype(np.float32)\n"
        "data = encode(signal, 8_000, form=sys.argv[1], comment='{}').data\n"
        "print(hashlib.sha256(data).hexdigest())"
    )
    signal = np.random.default_rng(3).uniform(-0.5, 0.5, 4_000).astype(np.float32)
    here = hashlib.sha256(encode(signal, RATE_HZ, form=form, comment="{}").data).hexdigest()
    second = time.time() // 1  # both libsndfile's seed and its time stamps are whole seconds
    while time.time() // 1 == second:
        time.sleep(0.01)
    run = subprocess.run([sys.executable, "-c", code, form], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == here


@pytest.mark.parametrize("form", LOSSY)
@pytest.mark.parametrize("samples", [1, 100, 4_001, 80_003])
def test_a_format_that_loses_something_keeps_length_and_place(form: str, samples: int) -> None:
    signal = noise(0.5, samples=samples)
    read = decoded(encode(signal, RATE_HZ, form=form).data)
    assert len(read) == samples
    if samples > 4_000:
        assert np.corrcoef(signal, read)[0, 1] > 0.9
        assert np.corrcoef(signal[1:], read[:-1])[0, 1] < 0.5


@pytest.mark.parametrize(("rate_hz", "form", "stored_hz"), [(22_050, "opus", 24_000), (96_000, "mp3", 48_000)])
def test_a_rate_that_the_format_lacks_becomes_the_next_one(rate_hz: int, form: str, stored_hz: int) -> None:
    encoded = encode(tone(rate_hz), rate_hz, form=form)
    assert (encoded.sample_rate_hz, stored_rate_hz(form, rate_hz)) == (stored_hz, stored_hz)
    read = decoded(encoded.data)
    assert len(read) == stored_hz // 2
    np.testing.assert_allclose(read, tone(stored_hz), atol=0.02)


@pytest.mark.parametrize("form", list(FORMATS))
def test_sound_is_stored_at_the_rate_that_was_asked_for(form: str) -> None:
    encoded = encode(tone(44_100), 44_100, form=form, output_rate_hz=16_000)
    with soundfile.SoundFile(io.BytesIO(encoded.data)) as file:
        assert (file.samplerate, file.frames) == (16_000, 8_000)
        np.testing.assert_allclose(file.read(dtype="float32"), tone(16_000), atol=0.02)


@pytest.mark.parametrize("form", list(FORMATS))
def test_a_comment_comes_back(form: str) -> None:
    comment = '{"id": "' + "x" * 2_000 + '"}'
    with soundfile.SoundFile(io.BytesIO(encode(noise(0.5), RATE_HZ, form=form, comment=comment).data)) as file:
        assert file.comment == comment


def test_minutes_of_sound_can_be_stored_in_each_format() -> None:
    signal = np.tile(noise(0.5, samples=48_000), 120)
    for form in LOSSY:
        assert soundfile.info(io.BytesIO(encode(signal, 48_000, form=form).data)).frames == signal.size


def test_a_float_wav_with_its_time_stamp_zeroed_still_reads_exactly() -> None:
    encoded = encode(noise(0.5), RATE_HZ, form="float")
    assert encoded.data[encoded.data.find(b"PEAK") + 12 :][:4] == bytes(4)
    read, _ = soundfile.read(io.BytesIO(encoded.data), dtype="float32")
    np.testing.assert_array_equal(read, noise(0.5))


@pytest.mark.parametrize("signal", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf]), np.zeros((2, 2))])
def test_what_is_no_waveform_is_refused(signal: np.ndarray) -> None:
    with pytest.raises(AudioError, match="expected a waveform"):
        encode(signal.astype(np.float32), RATE_HZ)


def test_another_format_is_a_usage_error_that_lists_the_formats() -> None:
    with pytest.raises(UsageError, match="wav, wav24, float, flac, ogg, opus, mp3"):
        encode(noise(0.5), RATE_HZ, form="aiff")
