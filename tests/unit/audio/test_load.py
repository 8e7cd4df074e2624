from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from wavemill.audio.load import audio_suffixes, load_recording
from wavemill.errors import AudioError
from wavemill.presets import preset

DIGITS = preset("digits")
COURSE = preset("course")


def tone(duration_s: float, rate_hz: int, *, frequency_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(int(duration_s * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("name", ["digits", "course"])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("duration_s", [0.3, 2.0])
def test_a_recording_loads_as_librosa_loads_it(tmp_path: Path, name: str, rate_hz: int, duration_s: float) -> None:
    features = preset(name)
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(duration_s, rate_hz), rate_hz)
    expected, _ = librosa.load(path, sr=features.sample_rate_hz, duration=features.duration_s)
    loaded = load_recording(path, features)
    assert loaded.signal.dtype == np.float32
    np.testing.assert_array_equal(loaded.signal, expected[: features.n_samples])
    assert loaded.cut is (duration_s > features.duration_s)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.2, 8_000), tone(0.2, 8_000, frequency_hz=1_000.0)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 8_000, subtype="FLOAT")
    np.testing.assert_allclose(load_recording(tmp_path / "stereo.wav", DIGITS).signal, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("wav", 2e-5), ("flac", 2e-5), ("aiff", 2e-5), ("ogg", 0.1), ("mp3", 0.1)]
)
def test_every_common_format_is_read(tmp_path: Path, suffix: str, tolerance: float) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(0.5, 8_000), 8_000)
    signal = load_recording(path, DIGITS).signal
    # Lossy codecs keep level and length, not samples.
    assert np.abs(signal).max() == pytest.approx(0.5, abs=max(tolerance, 2e-5))
    assert len(signal) == pytest.approx(4_000, abs=0 if tolerance < 0.1 else 2_400)


def test_a_clip_of_exactly_the_length_is_not_cut_and_one_sample_more_is(tmp_path: Path) -> None:
    for extra in (0, 1):
        soundfile.write(tmp_path / f"{extra}.wav", np.full(DIGITS.n_samples + extra, 0.1), 8_000)
    exact, longer = (load_recording(tmp_path / f"{extra}.wav", DIGITS) for extra in (0, 1))
    assert (exact.cut, longer.cut) == (False, True)
    assert len(exact.signal) == len(longer.signal) == DIGITS.n_samples


def test_a_text_file_named_wav_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not sound at all\n" * 100)
    with pytest.raises(AudioError, match=r"^notes\.wav: not readable as sound: .*[Ff]ormat") as caught:
        load_recording(tmp_path / "notes.wav", DIGITS)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, soundfile.LibsndfileError)


def test_a_recording_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    with pytest.raises(AudioError, match="without samples"):
        load_recording(tmp_path / "empty.wav", DIGITS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    signal = tone(0.2, 8_000)
    signal[100] = bad
    soundfile.write(tmp_path / "bad.wav", signal, 8_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinity"):
        load_recording(tmp_path / "bad.wav", DIGITS)


@pytest.mark.parametrize("name", ["missing.wav", "folder.wav", "zero-bytes.wav", "headerless.raw"])
def test_what_is_no_sound_file_is_an_audio_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "zero-bytes.wav").touch()
    (tmp_path / "headerless.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=f"^{name}: not readable"):
        load_recording(tmp_path / name, DIGITS)


def test_a_rate_that_cannot_be_resampled_is_an_audio_error_or_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", tone(1.0, 1_000), 1)
    extreme = replace(DIGITS, sample_rate_hz=192_000, n_samples=192_000)
    assert len(load_recording(tmp_path / "slow.wav", extreme).signal) <= extreme.n_samples


def test_the_suffixes_name_what_libsndfile_reads_without_help() -> None:
    suffixes = audio_suffixes()
    assert {".wav", ".flac", ".ogg", ".aiff", ".aif", ".mp3"} <= suffixes
    assert ".raw" not in suffixes
    assert ".npy" not in suffixes


@pytest.mark.parametrize("rest", [0.0, 1e-4, 3e-3])
def test_channels_that_cancel_each_other_are_told(tmp_path: Path, rest: float) -> None:
    left = tone(0.2, 8_000)
    soundfile.write(tmp_path / "x.wav", np.stack([left, -left * (1 - rest)], axis=1), 8_000)
    with pytest.raises(AudioError, match=r"^x\.wav: its channels cancel each other when they are mixed to one; "):
        load_recording(tmp_path / "x.wav", DIGITS)


@pytest.mark.parametrize("second", [1.0, 0.0, -0.5, -0.9])
def test_channels_that_differ_are_mixed(tmp_path: Path, second: float) -> None:
    left = tone(0.2, 8_000)
    soundfile.write(tmp_path / "x.wav", np.stack([left, left * second], axis=1), 8_000, subtype="FLOAT")
    np.testing.assert_allclose(load_recording(tmp_path / "x.wav", DIGITS).signal, left * (1 + second) / 2, atol=1e-7)


def test_silence_on_two_channels_stays_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((100, 2)), 8_000)
    assert not load_recording(tmp_path / "x.wav", DIGITS).signal.any()


@pytest.mark.parametrize(("greatest", "shown"), [(3e29, r"3e\+29"), (-3e38, r"3e\+38"), (1e11, r"1e\+11")])
def test_samples_far_above_full_scale_are_refused_with_their_size(tmp_path: Path, greatest: float, shown: str) -> None:
    signal = np.stack([tone(0.2, 8_000) * 2 * greatest] * 2, axis=1)
    soundfile.write(tmp_path / "x.wav", signal, 8_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"expected samples around 1, which is full scale, received up to {shown}"):
        load_recording(tmp_path / "x.wav", DIGITS)


def test_doubles_beyond_what_floats_hold_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(100, 1e300), 8_000, subtype="DOUBLE")
    with pytest.raises(AudioError, match="received NaN or infinity"):
        load_recording(tmp_path / "x.wav", DIGITS)


def test_integers_that_nobody_scaled_are_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(0.2, 8_000) * 2**31, 8_000, subtype="FLOAT")
    assert load_recording(tmp_path / "x.wav", DIGITS).signal.max() == pytest.approx(2**30, rel=1e-3)
