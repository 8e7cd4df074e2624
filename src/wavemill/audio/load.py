"""Recordings in: any file that libsndfile reads, as mono float32 at the rate that the features want."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.errors import AudioError
from wavemill.presets import Features

# Other spellings in use of formats that libsndfile lists under one name.
_OTHER_SUFFIXES = {"aif", "aifc", "bwf", "oga", "opus", "snd", "sph", "wave"}
# Headerless: libsndfile reads it only when told rate and encoding.
_NEEDS_PARAMETERS = {"raw"}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as the features want it, not padded: `cut` tells whether its end was left out."""

    signal: NDArray[np.float32]  # (samples,), 1 to features.n_samples of them
    cut: bool


def audio_suffixes() -> frozenset[str]:
    """Return the file suffixes, in lower case with the dot, of every format that the installed libsndfile reads."""
    names = {name.lower() for name in soundfile.available_formats()}
    return frozenset(f".{name}" for name in (names | _OTHER_SUFFIXES) - _NEEDS_PARAMETERS)


def load_recording(path: Path, features: Features) -> Recording:
    """Read the start of a recording, mix it to mono and resample it.

    The same numbers as `librosa.load(path, sr=features.sample_rate_hz, duration=features.duration_s)`: channels are
    averaged, and the cut comes before the resampling (soxr, high quality).

    Parameters
    ----------
    path : Path
        A file in any format that libsndfile recognises by its content; only the part that is kept is read.
    features : Features
        Gives the rate and the greatest length.

    Returns
    -------
    Recording
        `signal` is float32 of at least 1 and at most `features.n_samples` samples.

    Raises
    ------
    AudioError
        The file is missing, no sound file, damaged, empty, or holds NaN or infinity.
    """
    native, native_rate_hz, cut = _read_start(path, features.duration_s)
    if native.size == 0:
        raise AudioError(f"{path.name}: expected sound, received a file without samples")
    mono = native.mean(axis=1)  # (samples, channels) -> (samples,)
    if not np.isfinite(mono).all():
        raise AudioError(f"{path.name}: expected finite samples, received NaN or infinity; export the file again")
    signal = _resample(mono, native_rate_hz, features.sample_rate_hz, name=path.name)
    return Recording(signal=signal[: features.n_samples], cut=cut)


def _read_start(path: Path, duration_s: float) -> tuple[NDArray[np.float32], int, bool]:
    """Return the first `duration_s` seconds (samples, channels), their rate, and whether there was more."""
    try:
        with soundfile.SoundFile(path) as file:
            wanted = int(duration_s * file.samplerate)
            # One frame more tells whether there is more: the header of a compressed file need not know.
            native = file.read(wanted + 1, dtype="float32", always_2d=True)
            return native[:wanted], file.samplerate, len(native) > wanted
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as exc:
        reason = getattr(exc, "error_string", None) or str(exc)
        raise AudioError(f"{path.name}: not readable as sound: {reason.rstrip('.')}") from exc


def _resample(mono: NDArray[np.float32], native_rate_hz: int, sample_rate_hz: int, *, name: str) -> NDArray[np.float32]:
    if native_rate_hz == sample_rate_hz:
        return mono
    try:
        resampled = librosa.resample(mono, orig_sr=native_rate_hz, target_sr=sample_rate_hz, res_type="soxr_hq")
    except (librosa.ParameterError, ValueError, RuntimeError) as exc:
        raise AudioError(f"{name}: cannot be resampled from {native_rate_hz} to {sample_rate_hz} Hz: {exc}") from exc
    return np.asarray(resampled, dtype=np.float32)
