from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from wavemill.audio import wav
from wavemill.audio.wav import SUBTYPES, encode
from wavemill.errors import AudioError, UsageError

RATE_HZ = 8_000
FORMATS = [(container, subtype) for container, subtypes in SUBTYPES.items() for subtype in subtypes]


def noise(peak: float, *, samples: int = 4_000) -> np.ndarray:
    signal = np.random.default_rng(3).uniform(-1, 1, samples)
    return (signal * (peak / np.abs(signal).max())).astype(np.float32)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_the_encoded_file_holds_the_signal(container: str, subtype: str) -> None:
    encoded = encode(noise(0.8), RATE_HZ, subtype=subtype, container=container)
    with soundfile.SoundFile(io.BytesIO(encoded.data)) as file:
        assert (file.format, file.subtype, file.samplerate, file.channels) == (container, subtype, RATE_HZ, 1)
        read = file.read(dtype="float32")
    np.testing.assert_allclose(read, noise(0.8), atol=1.1 / 2**15)
    assert encoded.gain == 1.0
    assert encoded.peak == pytest.approx(0.8)
    assert encoded.duration_s == 0.5
    assert (encoded.clipped, encoded.silent) == (0, False)


@pytest.mark.parametrize("peak", [0.9999, 1.0, -1.0, 1.153141, -1.3, 50.0])
@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_signal_over_full_scale_is_scaled_as_a_whole_and_not_clipped(
    container: str, subtype: str, peak: float
) -> None:
    signal = noise(peak)
    encoded = encode(signal, RATE_HZ, subtype=subtype, container=container)
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


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_the_same_signal_gives_the_same_bytes_a_second_later(
    container: str, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bytes_at(stamp: int) -> bytes:
        # As libsndfile would have written it at another time: the stamp is in the float WAV's PEAK chunk only.
        written = soundfile.write

        def write_later(file: io.BytesIO, *args: object, **kwargs: object) -> None:
            written(file, *args, **kwargs)
            data = bytearray(file.getvalue())
            if (chunk := data.find(b"PEAK")) >= 0:
                data[chunk + 12 : chunk + 16] = stamp.to_bytes(4, "little")
            file.seek(0)
            file.write(data)

        with monkeypatch.context() as patch:
            patch.setattr(wav.soundfile, "write", write_later)
            return encode(noise(0.5), RATE_HZ, subtype=subtype, container=container).data

    assert bytes_at(1_000_000_000) == bytes_at(2_000_000_000)


def test_a_float_wav_with_its_time_stamp_zeroed_still_reads_exactly() -> None:
    encoded = encode(noise(0.5), RATE_HZ, subtype="FLOAT")
    assert encoded.data[encoded.data.find(b"PEAK") + 12 :][:4] == bytes(4)
    read, _ = soundfile.read(io.BytesIO(encoded.data), dtype="float32")
    np.testing.assert_array_equal(read, noise(0.5))


@pytest.mark.parametrize("signal", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf]), np.zeros((2, 2))])
def test_what_is_no_waveform_is_refused(signal: np.ndarray) -> None:
    with pytest.raises(AudioError, match="expected a waveform"):
        encode(signal.astype(np.float32), RATE_HZ)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_8"), ("FLAC", "FLOAT"), ("OGG", "VORBIS")])
def test_other_formats_are_a_usage_error_that_lists_the_formats(container: str, subtype: str) -> None:
    with pytest.raises(UsageError, match="WAV: PCM_16, PCM_24, FLOAT; FLAC"):
        encode(noise(0.5), RATE_HZ, subtype=subtype, container=container)
