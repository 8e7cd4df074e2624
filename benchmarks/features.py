"""Feature parameters compared: how much of a recording each keeps, with no model between.

    python -m benchmarks.features WAV_DIR [--clips 200] [--world digits|speech|notes|music|drums]

Prints one Markdown table. Each recording becomes a spectrogram and sound again (`pghi+gl`). Digits are judged as in
`benchmarks.inversion`, and every file counts for the column of recordings cut; the other worlds as in
`benchmarks.feature_worlds`. Needs pystoi; PESQ is left out unless the package pesq is installed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.feature_worlds import WORLDS, table
from benchmarks.inversion import judge
from wavemill.audio.features import extract, pad_or_cut, to_magnitude
from wavemill.audio.load import audio_suffixes, load_recording
from wavemill.inversion import invert
from wavemill.presets import Features, preset


def stft_features(n_fft: int, hop_length: int, *, duration_s: float = 1.016, range_db: float = 80.0) -> Features:
    """Return decibels of the STFT at 8 kHz without the highest row."""
    n_samples = round(duration_s * 8_000)
    return Features(
        preset=f"8,000 Hz, {n_fft}/{hop_length}",
        sample_rate_hz=8_000,
        n_fft=n_fft,
        hop_length=hop_length,
        n_samples=n_samples,
        n_bins=n_fft // 2,
        n_frames=1 + n_samples // hop_length,
        range_db=range_db,
    )


def mel_features(n_bands: int, *, n_fft: int = 256, hop_length: int = 64, range_db: float = 80.0) -> Features:
    """Return log-mel features at 8 kHz."""
    stft = stft_features(n_fft, hop_length, range_db=range_db)
    return replace(stft, preset=f"{n_bands} mel bands, {n_fft}/{hop_length}", kind="log-mel", n_bins=n_bands)


CANDIDATES = (
    preset("course"),
    preset("digits"),
    *(stft_features(256, 64, range_db=range_db) for range_db in (60.0, 50.0, 40.0)),
    *(stft_features(256, 64, duration_s=duration_s) for duration_s in (0.74, 1.272)),
    *(stft_features(256, hop_length) for hop_length in (128, 48, 32)),
    *(stft_features(*sizes) for sizes in ((192, 96), (192, 64), (192, 48), (320, 80), (400, 100))),
    *(mel_features(n_bands) for n_bands in (64, 80, 96, 128)),
    *(mel_features(80, range_db=range_db) for range_db in (60.0, 50.0)),
    mel_features(80, n_fft=400, hop_length=100),
    mel_features(80, n_fft=512),
)


def row(paths: Sequence[Path], durations_s: Sequence[float], features: Features) -> str:
    """Measure one candidate; `durations_s` are those of all recordings."""
    recordings = [load_recording(path, features).signal for path in paths]
    spectrograms = np.stack([extract(pad_or_cut(signal, features.n_samples), features) for signal in recordings])
    waveforms = invert(
        to_magnitude(spectrograms, features),
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        length=features.n_samples,
    )
    intelligibility, quality = judge(recordings, waveforms, features.sample_rate_hz)
    n_cut = sum(duration_s > features.duration_s for duration_s in durations_s)
    return (
        f"| {features.preset} | {features.range_db:g} | {features.duration_s:.2f} | {n_cut} "
        f"| {features.n_bins} x {features.n_frames} = {features.n_bins * features.n_frames:,} "
        f"| {'' if quality is None else f'{quality:.2f}'} | {intelligibility:.3f} |"
    )


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wav_dir", type=Path)
    parser.add_argument("--clips", type=int, default=200, help="how many recordings, spread over the folder")
    parser.add_argument("--world", choices=["digits", *WORLDS], default="digits")
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.wav_dir.rglob("*") if path.suffix.lower() in audio_suffixes())
    if not found:
        parser.error(f"there is no recording under {arguments.wav_dir}")
    chosen = found[:: max(1, len(found) // arguments.clips)][: arguments.clips]
    world = WORLDS.get(arguments.world)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pystoi, on clips with much silence
        for line in _digits(found, chosen) if world is None else table(chosen, world):
            print(line, flush=True)


def _digits(found: Sequence[Path], chosen: Sequence[Path]) -> Iterator[str]:
    durations_s = [soundfile.info(path).duration for path in found]
    yield "| features | range, dB | s | cut | numbers | PESQ | STOI |\n|---|---:|---:|---:|---:|---:|---:|"
    yield from (row(chosen, durations_s, features) for features in CANDIDATES)


if __name__ == "__main__":
    main()
