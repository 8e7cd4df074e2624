"""Loads any file that libsndfile reads, as mono float32 at the features' sample rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.audio.streams import open_sound
from wavemill.errors import AudioError
from wavemill.presets import Features

# Other common suffixes of formats that libsndfile lists under one name.
_OTHER_SUFFIXES = {"aif", "aifc", "bwf", "oga", "opus", "snd", "sph", "wave"}
# A format without a header: libsndfile must be told its rate and encoding.
_NEEDS_PARAMETERS = {"raw"}
# Full scale is 1. Unscaled 32-bit integers, up to 2e9, still pass; the square of 2e19 exceeds
# float32.
_MOST_SAMPLE = 1e10
_CANCELLED = 1e-4  # least power after mixing, as a share of the channels' power (-40 dB); below is rounding noise


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A part of a recording in mono, at the features' sample rate, not padded.

    `cut` tells whether the recording goes on after it.
    """

    signal: NDArray[np.float32]  # (samples,), at least 1
    sample_rate_hz: int
    cut: bool
    native_rate_hz: int
    channels: int  # in the file

    @property
    def duration_s(self) -> float:
        """Length of the signal in seconds."""
        return len(self.signal) / self.sample_rate_hz


def audio_suffixes() -> frozenset[str]:
    """Return the file suffixes, in lower case with the dot, of every format that the installed libsndfile reads."""
    names = {name.lower() for name in soundfile.available_formats()}
    return frozenset(f".{name}" for name in (names | _OTHER_SUFFIXES) - _NEEDS_PARAMETERS)


def load_recording(
    path: Path, features: Features, *, start_s: float = 0.0, longest_s: float | None = None
) -> Recording:
    """Read a part of a recording, mix it to mono and resample it.

    Returns the same numbers as `librosa.load(path, sr=features.sample_rate_hz, offset=start_s,
    duration=longest_s)`: channels are averaged, and the recording is cut before it is resampled
    (soxr, high quality).

    Parameters
    ----------
    path : Path
        A file in any format that libsndfile recognises by its content. Only the part that is kept
        is read.
    features : Features
        Sets the sample rate.
    start_s, longest_s : float, in seconds
        The part to read; by default the start, of at most `features.duration_s`.

    Returns
    -------
    Recording

    Raises
    ------
    AudioError
        The file is missing, not a sound file, damaged or empty; it holds NaN, infinity or samples
        far above full scale; or its channels cancel each other.
    """
    longest_s = features.duration_s if longest_s is None else longest_s
    native, native_rate_hz, cut = _read_part(path, start_s, longest_s)
    if native.size == 0 and start_s:
        raise AudioError(f"{path.name}: expected sound from {start_s:g} s on, but the recording ends before")
    if native.size == 0:
        raise AudioError(f"{path.name}: expected sound, received a file without samples")
    require_plausible(native, name=path.name)
    mono = _mixed(native, name=path.name)
    signal = _resample(mono, native_rate_hz, features.sample_rate_hz, name=path.name)
    return Recording(
        signal=signal[: round(longest_s * features.sample_rate_hz)],
        sample_rate_hz=features.sample_rate_hz,
        cut=cut,
        native_rate_hz=native_rate_hz,
        channels=native.shape[1],
    )


def _read_part(path: Path, start_s: float, longest_s: float) -> tuple[NDArray[np.float32], int, bool]:
    """Return up to `longest_s` seconds (samples, channels), their rate, and whether there was more."""
    with sound_errors(path.name), open_sound(path) as sound:
        wanted = int(longest_s * sound.samplerate)
        sound.go_to(round(start_s * sound.samplerate))
        # Read one frame more to see whether the sound goes on: the header may not give its
        # length.
        native = sound.read_start(wanted + 1)
        return native[:wanted], sound.samplerate, len(native) > wanted


@contextmanager
def sound_errors(name: str) -> Iterator[None]:
    """Turn the errors of opening and reading a sound file into AudioError."""
    try:
        yield
    except soundfile.LibsndfileError as exc:
        said = exc.error_string.rstrip(".")
        raise AudioError(f"{name}: not readable as sound: {said}; copy or export the file again") from exc
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as exc:
        said = getattr(exc, "strerror", None) or str(exc)
        raise AudioError(f"{name}: not readable as sound: {said.rstrip('.')}") from exc


def require_plausible(native: NDArray[np.float32], *, name: str) -> None:
    """Raise AudioError for samples from which no spectrogram can be made."""
    greatest = float(max(native.max(), -native.min()))  # NaN if any sample is NaN
    if not math.isfinite(greatest):
        raise AudioError(f"{name}: expected finite samples, received NaN or infinity; export the file again")
    if greatest > _MOST_SAMPLE:
        raise AudioError(
            f"{name}: expected samples around 1, which is full scale, received up to {greatest:.0e}; "
            "export the file again"
        )


def _mixed(native: NDArray[np.float32], *, name: str) -> NDArray[np.float32]:
    """Return the mean of the channels; AudioError if the channels cancel each other."""
    mono = native.mean(axis=1)  # (samples, channels) -> (samples,)
    require_sound(power_of(mono), power_of(native), name=name)
    return np.asarray(mono, dtype=np.float32)


def power_of(signal: NDArray[np.float32]) -> float:
    """Return the mean square."""
    return float(np.mean(np.square(signal, dtype=np.float64)))


def require_sound(mono_power: float, channels_power: float, *, name: str) -> None:
    """Raise AudioError if the channels cancel each other."""
    if mono_power < _CANCELLED * channels_power:
        raise AudioError(
            f"{name}: its channels cancel each other when they are mixed to one; invert one of them, or keep only one"
        )


def _resample(mono: NDArray[np.float32], native_rate_hz: int, sample_rate_hz: int, *, name: str) -> NDArray[np.float32]:
    if native_rate_hz == sample_rate_hz:
        return mono
    try:
        resampled = librosa.resample(mono, orig_sr=native_rate_hz, target_sr=sample_rate_hz, res_type="soxr_hq")
    except (librosa.ParameterError, ValueError, RuntimeError) as exc:
        raise AudioError(f"{name}: cannot be resampled from {native_rate_hz} to {sample_rate_hz} Hz: {exc}") from exc
    return np.asarray(resampled, dtype=np.float32)
