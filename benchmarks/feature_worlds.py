"""Feature parameters for speech, notes, music and drums: what each keeps of a recording, with no model between.

`python -m benchmarks.features WAV_DIR --world speech|notes|music|drums` prints the table. A recording becomes a
spectrogram and sound again, by the default inversion. No measure uses the windows of any candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path

import librosa
import numpy as np
from pystoi import stoi

from wavemill.arrays import FloatArray
from wavemill.audio.features import extract, pad_or_cut, to_magnitude
from wavemill.audio.load import load_recording
from wavemill.audio.mel import mel_bank
from wavemill.errors import UsageError
from wavemill.inversion import invert
from wavemill.presets import Features

_WINDOWS = (256, 512, 1_024, 2_048, 4_096)
_OVERLAPS = (2, 3, 4, 8)  # windows over each sample: overlaps of 50, 67, 75 and 87 %
_MEL_BANDS = (80, 128, 160, 200)
_LONGEST_S = 4.0  # of a recording, the start is used
_LEAST_STOI_S = 1.2  # shorter recordings are repeated
_JUDGE_WINDOWS_S = (0.012, 0.048)  # of the log-spectral distance: transients, and single harmonics
_JUDGE_HOP_S = 0.002
_TOP_DB = 50.0  # below a recording's loudest bin, distances do not count
_ROLL_OFF = 0.99
_CLOSE = 0.05  # a roll-off counts as kept up to this share
_NEAR_OCTAVES = 50 / 1_200  # 50 cents
_LOW_HZ, _HIGH_HZ = 40.0, 2_100.0  # of pYIN

Signals = Sequence[FloatArray]


@dataclass(frozen=True, kw_only=True)
class World:
    """A kind of sound: its rate, the window around which mel bands and ranges are tried, and its own measure."""

    rate_hz: int
    window: int
    column: str
    judge: Callable[[Signals, Signals, int], float]


def candidates(world: World) -> Iterator[Features]:
    """Yield every window with every overlap, then mel bands and a smaller range around the world's window."""
    for n_fft in _WINDOWS:
        for overlap in _OVERLAPS:
            yield _features(world.rate_hz, n_fft, n_fft // overlap)
    yield _features(world.rate_hz, world.window, world.window // 4, range_db=60.0)
    for n_bands in _MEL_BANDS:
        for n_fft in (world.window, 2 * world.window):
            features = _features(world.rate_hz, n_fft, world.window // 4, n_bands=n_bands)
            if _has_no_empty_band(features):
                yield features
    yield _features(world.rate_hz, world.window, world.window // 4, n_bands=128, range_db=60.0)


def table(paths: Sequence[Path], world: World) -> Iterator[str]:
    """Yield the lines of a Markdown table: for each candidate, distance, the world's measure, numbers a second."""
    recordings = [signal for path in paths if (signal := _loaded(path, world.rate_hz)).any()]
    yield f"| features | range, dB | numbers a second | LSD, dB | LSD, worst 5 % | {world.column} |"
    yield "|---|---:|---:|---:|---:|---:|"
    for features in candidates(world):
        made = [_through(recording, features) for recording in recordings]
        pairs = zip(recordings, made, strict=True)
        distances = np.array([distance_db(before, after, world.rate_hz) for before, after in pairs])
        numbers = round(features.n_bins * features.sample_rate_hz / features.hop_length)
        yield (
            f"| {features.preset} | {features.range_db:g} | {numbers:,} | {distances.mean():.2f} "
            f"| {np.percentile(distances, 95):.2f} | {world.judge(recordings, made, world.rate_hz):.3f} |"
        )


def distance_db(recording: FloatArray, made: FloatArray, rate_hz: int) -> float:
    """Return the mean log-spectral distance over both judging windows, within the recording's top 50 dB."""
    return float(np.mean([_distance_db(recording, made, round(s * rate_hz), rate_hz) for s in _JUDGE_WINDOWS_S]))


def intelligibility(recordings: Signals, made: Signals, rate_hz: int) -> float:
    """Return mean STOI."""
    scores = []
    for before, after in zip(recordings, made, strict=True):
        times = int(np.ceil(_LEAST_STOI_S * rate_hz / before.size))
        scores.append(stoi(np.tile(before, times), np.tile(after, times), rate_hz))
    return float(np.mean(scores))


def pitch_kept(recordings: Signals, made: Signals, rate_hz: int) -> float:
    """Return the share of recordings with a pitch whose median, by pYIN, moves by 50 cents at most."""
    before = np.array([_pitch_hz(one, rate_hz) for one in recordings])
    after = np.array([_pitch_hz(one, rate_hz) for one in made])
    pitched = before > 0
    return float(np.mean(np.abs(np.log2(np.maximum(after, 1)[pitched] / before[pitched])) <= _NEAR_OCTAVES))


def bandwidth_kept(recordings: Signals, made: Signals, rate_hz: int) -> float:
    """Return the share of recordings whose 99 % roll-off moves by 5 % at most."""
    before = np.array([_roll_off_hz(one, rate_hz) for one in recordings])
    after = np.array([_roll_off_hz(one, rate_hz) for one in made])
    return float(np.mean(np.abs(after / before - 1) <= _CLOSE))


WORLDS = {
    "speech": World(rate_hz=16_000, window=512, column="STOI", judge=intelligibility),
    "notes": World(rate_hz=16_000, window=512, column="pitch kept", judge=pitch_kept),
    "music": World(rate_hz=44_100, window=2_048, column="pitch kept", judge=pitch_kept),
    "drums": World(rate_hz=44_100, window=1_024, column="roll-off kept", judge=bandwidth_kept),
}


def _features(
    rate_hz: int, n_fft: int, hop_length: int, *, n_bands: int | None = None, range_db: float = 80.0
) -> Features:
    n_samples = int(_LONGEST_S * rate_hz)
    return Features(
        preset=f"{n_fft}/{hop_length}" if n_bands is None else f"{n_bands} mel bands, {n_fft}/{hop_length}",
        kind="stft-db" if n_bands is None else "log-mel",
        sample_rate_hz=rate_hz,
        n_fft=n_fft,
        hop_length=hop_length,
        n_samples=n_samples,
        n_bins=n_bands or n_fft // 2,
        n_frames=1 + n_samples // hop_length,
        range_db=range_db,
    )


def _has_no_empty_band(features: Features) -> bool:
    try:
        mel_bank(features)
    except UsageError:
        return False
    return True


def _loaded(path: Path, rate_hz: int) -> FloatArray:
    signal = load_recording(path, _features(rate_hz, _WINDOWS[0], _WINDOWS[0])).signal
    return pad_or_cut(signal, max(signal.size, _WINDOWS[-1]))


def _through(recording: FloatArray, features: Features) -> FloatArray:
    magnitude = to_magnitude(extract(recording, features)[np.newaxis], features)
    sound = invert(magnitude, n_fft=features.n_fft, hop_length=features.hop_length, length=recording.size)
    return np.asarray(sound[0], np.float32)


def _distance_db(recording: FloatArray, made: FloatArray, n_fft: int, rate_hz: int) -> float:
    hop_length = round(_JUDGE_HOP_S * rate_hz)
    before, after = (
        librosa.amplitude_to_db(np.abs(librosa.stft(signal, n_fft=n_fft, hop_length=hop_length)), top_db=None)
        for signal in (recording, made)
    )
    floor = before.max() - _TOP_DB
    squares = np.square(np.maximum(before, floor) - np.maximum(after, floor))  # (F, T)
    sounding = before.max(axis=0) > floor  # (F, T) -> (T,)
    return float(np.sqrt(squares.mean(axis=0))[sounding].mean())


def _pitch_hz(signal: FloatArray, rate_hz: int) -> float:
    n_frame = 2 ** ceil(log2(4 / _LOW_HZ * rate_hz))  # samples: four periods and more
    pitches, voiced, _ = librosa.pyin(
        signal, fmin=_LOW_HZ, fmax=_HIGH_HZ, sr=rate_hz, frame_length=n_frame, hop_length=n_frame // 2, resolution=0.25
    )
    return float(np.median(pitches[voiced])) if voiced.any() else 0.0


def _roll_off_hz(signal: FloatArray, rate_hz: int) -> float:
    energy = np.cumsum(np.square(np.abs(np.fft.rfft(signal))))
    return float(np.searchsorted(energy, _ROLL_OFF * energy[-1]) + 1) * rate_hz / signal.size
