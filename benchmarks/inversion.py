"""Inversion methods compared: time per clip, and how near the sound comes to the recording.

    python -m benchmarks.inversion WAV_DIR [--clips 100] [--rounds 5]

Prints one Markdown table. Time is the processor time of the one thread that each method runs in: what others do on
the machine counts little. Each round times every method once, one after the other; the median round counts. Needs
pystoi; PESQ is left out unless the package pesq is installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from pystoi import stoi

from wavemill.arrays import FloatArray
from wavemill.inversion import METHODS, invert
from wavemill.presets import Features, preset

try:
    from pesq import NoUtterancesError, pesq
except ImportError:
    pesq = None

REFERENCE = "librosa.griffinlim(n_iter=32)"
LEAST_DURATION_S = 1.2  # STOI and PESQ need more than most clips have: they are repeated up to this
PESQ_RATE_HZ = 8_000


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Recordings under one preset: as heard, and as magnitudes after the dB range and the dropped rows."""

    features: Features
    recordings: list[FloatArray]
    magnitudes: FloatArray  # (B, n_fft // 2 + 1, T)


@dataclass(frozen=True, kw_only=True)
class MethodFigures:
    """The figures of one method under one preset; PESQ is None without its package."""

    preset: str
    method: str
    ms_per_clip: float
    speedup: float  # how many times as fast as REFERENCE in the same rounds
    stoi: float
    pesq: float | None


def measure(
    paths: Sequence[Path], *, presets: Sequence[str] = ("course", "digits"), rounds: int = 5
) -> list[MethodFigures]:
    """Measure all methods, and librosa's, on recordings."""
    return [row for name in presets for row in _measure_preset(read(paths, preset(name)), rounds)]


def read(paths: Sequence[Path], features: Features) -> Clips:
    """Load recordings and make the magnitudes that a dataset of these features leaves."""
    rate, size = features.sample_rate_hz, features.n_samples
    recordings = [librosa.load(path, sr=rate)[0][:size] for path in paths]
    padded = np.stack([np.pad(recording, (0, size - recording.size)) for recording in recordings])
    magnitudes = np.abs(librosa.stft(padded, n_fft=features.n_fft, hop_length=features.hop_length))
    kept = magnitudes[:, : features.n_bins]
    floor = kept.max(axis=(1, 2), keepdims=True) * 10 ** (-features.range_db / 20)
    restored = np.zeros(magnitudes.shape, np.float32)
    restored[:, : features.n_bins] = np.maximum(kept, floor)
    return Clips(features=features, recordings=recordings, magnitudes=restored)


def thread_medians_s(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run each in turn, `rounds` times; return each one's median of this thread's processor time, in seconds."""
    seconds: dict[str, list[float]] = {method: [] for method in runs}
    for _ in range(rounds):
        for method, run in runs.items():
            start = time.thread_time()
            run()
            seconds[method].append(time.thread_time() - start)
    return {method: float(np.median(times)) for method, times in seconds.items()}


def _measure_preset(clips: Clips, rounds: int) -> list[MethodFigures]:
    runs = _runs(clips)
    waveforms = {method: run() for method, run in runs.items()}  # also compiles and warms up
    seconds = thread_medians_s(runs, rounds)
    reference_s = seconds[REFERENCE]
    rows = []
    for method, waveform in waveforms.items():
        median_s = seconds[method]
        intelligibility, quality = judge(clips.recordings, waveform, clips.features.sample_rate_hz)
        rows.append(
            MethodFigures(
                preset=clips.features.preset,
                method=method,
                ms_per_clip=1_000 * median_s / len(clips.recordings),
                speedup=reference_s / median_s,
                stoi=intelligibility,
                pesq=quality,
            )
        )
    return rows


def _runs(clips: Clips) -> dict[str, Callable[[], FloatArray]]:
    features = clips.features
    geometry = {"n_fft": features.n_fft, "hop_length": features.hop_length, "length": features.n_samples}

    def ours(method: str) -> Callable[[], FloatArray]:
        return lambda: invert(clips.magnitudes, **geometry, method=method)

    def librosas() -> FloatArray:
        return np.stack([librosa.griffinlim(clip, **geometry, n_iter=32, random_state=0) for clip in clips.magnitudes])

    return {method: ours(method) for method in METHODS} | {REFERENCE: librosas}


def judge(recordings: Sequence[FloatArray], waveforms: FloatArray, rate_hz: int) -> tuple[float, float | None]:
    """Return mean STOI and mean narrow-band PESQ (None without its package) against the recordings."""
    intelligibility, quality = [], []
    for recording, waveform in zip(recordings, waveforms, strict=True):
        times = int(np.ceil(LEAST_DURATION_S * rate_hz / recording.size))
        heard, made = np.tile(recording, times), np.tile(waveform[: recording.size], times)
        intelligibility.append(stoi(heard, made, rate_hz))
        if pesq is not None:
            quality.append(_pesq(heard, made, rate_hz))
    return float(np.mean(intelligibility)), float(np.nanmean(quality)) if quality else None


def _pesq(heard: FloatArray, made: FloatArray, rate_hz: int) -> float:
    """Return narrow-band PESQ, or NaN where it finds no speech."""
    if rate_hz != PESQ_RATE_HZ:
        heard, made = (librosa.resample(y, orig_sr=rate_hz, target_sr=PESQ_RATE_HZ) for y in (heard, made))
    try:
        return float(pesq(PESQ_RATE_HZ, heard, made, "nb"))
    except NoUtterancesError:
        return float("nan")


def table(rows: Sequence[MethodFigures]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| preset | method | ms a clip | times as fast | STOI | PESQ |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        quality = "" if row.pesq is None else f"{row.pesq:.2f}"
        speed = f"{row.ms_per_clip:.2f} | {row.speedup:.1f}"
        lines.append(f"| {row.preset} | {row.method} | {speed} | {row.stoi:.3f} | {quality} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wav_dir", type=Path)
    parser.add_argument("--clips", type=int, default=100, help="how many recordings, spread over the folder")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    found = sorted(arguments.wav_dir.rglob("*.wav"))
    if not found:
        parser.error(f"there is no .wav file under {arguments.wav_dir}")
    step = max(1, len(found) // arguments.clips)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pystoi, on clips with much silence
        print(table(measure(found[::step][: arguments.clips], rounds=arguments.rounds)))


if __name__ == "__main__":
    main()
