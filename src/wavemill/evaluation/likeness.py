"""Measures how alike two sounds of any kind are: spectrum, timbre, loudness, bandwidth, pitch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2
from typing import Any

import librosa
import numpy as np
import scipy.fft

from wavemill.arrays import FloatArray
from wavemill.audio.features import pad_or_cut
from wavemill.audio.loudness import loudness_lufs
from wavemill.presets import Features

TOP_DB = 50.0  # what is softer is not compared
ROLL_OFF = 0.99
CENTS = 50.0
MOST_PITCHES = 100  # clips of which pitches are found: pYIN takes longer than all else
_RESOLUTIONS = (0.5, 1.0, 4.0)  # windows, in windows of the features
_CEPSTRA, _BANDS = 13, 40
_VOICED = 0.5  # share of sounding frames that must have a pitch
_LOWEST_HZ, _HIGHEST_HZ = 32.7, 2_093.0  # from C1 to C7
_PITCH_WINDOW_S = 0.064

HOW = {
    "multi_resolution_db": (
        f"mean distance between the STFTs of sound and reference with {len(_RESOLUTIONS)} windows "
        f"({', '.join(f'{share:g}' for share in _RESOLUTIONS)} times the dataset's), in bins within {TOP_DB:.0f} dB of "
        "the reference's peak"
    ),
    "mel_cepstral_distortion_db": (
        f"of {_CEPSTRA} cepstral coefficients of {_BANDS} mel bands without the level, mean over the frames in which "
        "the reference sounds; sound and reference are not aligned"
    ),
    "loudness_difference_lu": "absolute difference in loudness (ITU-R BS.1770-4); silence is left out",
    "bandwidth_ratio": f"frequency below which {ROLL_OFF:.0%} of the energy lies, as a share of the reference's",
    "pitch_right": (
        f"share of clips whose pitch (pYIN, median) is within {CENTS:.0f} cents of the reference's, of the first "
        f"{MOST_PITCHES} clips (spread over all) whose reference has one in over {_VOICED:.0%} of its sounding frames"
    ),
}


class Likeness:
    """Compares sounds with fixed references; what is measured of the references is kept.

    Parameters
    ----------
    references : sequence of float32 [shape=(samples,)], at the rate of `features`
    """

    def __init__(self, references: Sequence[FloatArray], features: Features) -> None:
        self._references, self._features = references, features
        spread = np.linspace(0, len(references) - 1, min(len(references), MOST_PITCHES)).round().astype(int)
        self._pitches = {int(i): median_pitch_hz(references[i], features.sample_rate_hz) for i in spread}

    @property
    def measures(self) -> Mapping[str, Callable[[FloatArray, FloatArray, Features], float]]:
        """The measures that need nothing but the two sounds."""
        return {
            "multi_resolution_db": multi_resolution_db,
            "mel_cepstral_distortion_db": mel_cepstral_distortion_db,
            "loudness_difference_lu": loudness_difference_lu,
            "bandwidth_ratio": bandwidth_ratio,
        }

    def of(self, sounds: Sequence[FloatArray]) -> dict[str, FloatArray]:
        """Return the measures of each sound, float32 [shape=(batch,)]; NaN where one does not apply.

        A sound is padded with silence, or cut, to the length of its reference. Without any pitched
        reference there is no `pitch_right`.
        """
        pairs = [(true, pad_or_cut(sound, len(true))) for true, sound in zip(self._references, sounds, strict=True)]
        measured = {
            name: np.array([measure(true, sound, self._features) for true, sound in pairs], np.float32)
            for name, measure in self.measures.items()
        }
        if any(pitch is not None for pitch in self._pitches.values()):
            measured["pitch_right"] = self._pitch_right([sound for _, sound in pairs])
        return measured

    def _pitch_right(self, sounds: Sequence[FloatArray]) -> FloatArray:
        right = np.full(len(sounds), np.nan, np.float32)
        for i, pitch_hz in self._pitches.items():
            if pitch_hz is not None:
                found_hz = median_pitch_hz(sounds[i], self._features.sample_rate_hz, least_voiced=0.0)
                right[i] = found_hz is not None and abs(1_200 * np.log2(found_hz / pitch_hz)) <= CENTS
        return right


def multi_resolution_db(true: FloatArray, sound: FloatArray, features: Features) -> float:
    """Return the mean distance in dB of STFTs with several windows; NaN for a silent reference."""
    distances = []
    for share in _RESOLUTIONS:
        n_fft = max(2 * round(share * features.n_fft / 2), 16)
        expected, found = (_stft_db(signal, n_fft) for signal in (true, sound))
        floor = expected.max() - TOP_DB
        loud = expected > floor
        distances.append(float(np.abs(expected - np.maximum(found, floor))[loud].mean()) if true.any() else np.nan)
    return float(np.mean(distances))


def mel_cepstral_distortion_db(true: FloatArray, sound: FloatArray, features: Features) -> float:
    """Return the mel-cepstral distortion; NaN for a silent reference."""
    if not true.any():
        return np.nan
    expected, found = (_mel_db(signal, features) for signal in (true, sound))
    floor = expected.max() - TOP_DB
    sounding = expected.max(axis=0) > floor
    apart = np.maximum(expected, floor) - np.maximum(found, floor)  # (M, T), in dB
    cepstra = scipy.fft.dct(apart[:, sounding], axis=0, norm="ortho")[1 : _CEPSTRA + 1]
    return float(np.sqrt(2 * np.square(cepstra).sum(axis=0) / _BANDS).mean())


def loudness_difference_lu(true: FloatArray, sound: FloatArray, features: Features) -> float:
    """Return the absolute difference of loudness; NaN where one of the two is silence."""
    expected, found = (loudness_lufs(signal, features.sample_rate_hz) for signal in (true, sound))
    return np.nan if expected is None or found is None else abs(found - expected)


def bandwidth_ratio(true: FloatArray, sound: FloatArray, features: Features) -> float:
    """Return the roll-off frequency of a sound over that of its reference; NaN where one is silent."""
    if not true.any() or not sound.any():
        return np.nan
    return roll_off_hz(sound, features.sample_rate_hz) / roll_off_hz(true, features.sample_rate_hz)


def roll_off_hz(signal: FloatArray, sample_rate_hz: int) -> float:
    """Return the frequency below which `ROLL_OFF` of a sound's energy lies."""
    energy = np.cumsum(np.square(np.abs(np.fft.rfft(signal.astype(np.float64)))))
    row = int(np.searchsorted(energy, ROLL_OFF * energy[-1]))
    return max(row, 1) * sample_rate_hz / len(signal)


def median_pitch_hz(signal: FloatArray, sample_rate_hz: int, *, least_voiced: float = _VOICED) -> float | None:
    """Return the median pitch (pYIN); None if no more than `least_voiced` of the sounding frames have a pitch."""
    frame = 2 ** ceil(log2(_PITCH_WINDOW_S * sample_rate_hz))  # at least two periods
    if len(signal) < frame or not signal.any():
        return None
    arguments: dict[str, Any] = {
        "sr": sample_rate_hz,
        "frame_length": frame,
        "hop_length": frame // 4,
        "resolution": 0.2,
    }
    hz, voiced, _ = librosa.pyin(signal, fmin=_LOWEST_HZ, fmax=min(_HIGHEST_HZ, sample_rate_hz / 4), **arguments)
    level = librosa.feature.rms(y=signal, frame_length=frame, hop_length=frame // 4)[0][: len(hz)]
    sounding = level > level.max() * 10 ** (-TOP_DB / 20)
    chosen = sounding & voiced
    return float(np.median(hz[chosen])) if chosen.sum() > least_voiced * sounding.sum() else None


def _stft_db(signal: FloatArray, n_fft: int) -> FloatArray:
    padded = pad_or_cut(signal, max(len(signal), n_fft))
    magnitude = np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=n_fft // 4))
    return np.asarray(20 * np.log10(np.maximum(magnitude, 1e-7)), np.float32)


def _mel_db(signal: FloatArray, features: Features) -> FloatArray:
    padded = pad_or_cut(signal, max(len(signal), features.n_fft))
    bands = min(_BANDS, features.n_fft // 6)
    power = librosa.feature.melspectrogram(
        y=padded, sr=features.sample_rate_hz, n_fft=features.n_fft, hop_length=features.hop_length, n_mels=bands
    )
    return np.asarray(10 * np.log10(np.maximum(power, 1e-14)), np.float32)
