"""Inversion of any material at any setting, against librosa's Griffin-Lim in the same run.

    python -m benchmarks.inversion_materials speech=DIR notes=DIR drums=DIR loops=DIR [--clips 12] [--rounds 3]

Prints one Markdown table, a row for each material, setting and method. The magnitudes are those of the recording,
without a limit on their range. Convergence is the distance between the magnitudes of the recording and those of the
result, relative to the recording's, on a grid four times as fine as the given one: there, overlap cannot flatter. The
peak is the highest among the clips of result's peak / recording's peak, where wavemill knows the recording's peak, as
it does from a dataset, and where it does not. Time is processor time of one thread, of the
median round.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from benchmarks.inversion import REFERENCE, judge, thread_medians_s
from wavemill.arrays import FloatArray
from wavemill.inversion import METHODS, invert

SUFFIXES = frozenset({".wav", ".flac", ".aiff", ".ogg"})
LONGEST_S = 4.0  # of a clip; the rest is cut off
SHORTEST_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A grid, and the sample rate at which people use it."""

    sample_rate_hz: int
    n_fft: int
    hop_length: int

    def __str__(self) -> str:
        return f"{self.n_fft}/{self.hop_length}"


SETTINGS = (
    Setting(sample_rate_hz=16_000, n_fft=400, hop_length=160),
    Setting(sample_rate_hz=16_000, n_fft=512, hop_length=128),
    Setting(sample_rate_hz=22_050, n_fft=1024, hop_length=256),
    Setting(sample_rate_hz=44_100, n_fft=2048, hop_length=512),
    Setting(sample_rate_hz=22_050, n_fft=1024, hop_length=275),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one method on one material at one setting."""

    material: str
    setting: Setting
    method: str
    seconds: float  # for all clips
    convergence_db: FloatArray  # (clips,)
    peak_ratio: FloatArray  # (clips,)
    blind_peak_ratio: FloatArray  # (clips,), without knowledge of the recordings' peaks
    stoi: float | None  # for material whose name begins with "speech"
    pesq: float | None


def measure(
    material: str, paths: Sequence[Path], setting: Setting, methods: Sequence[str], rounds: int
) -> list[Figures]:
    """Measure methods, and librosa's Griffin-Lim, on recordings at one setting."""
    recordings = [read(path, setting.sample_rate_hz) for path in paths]
    wanted = [magnitude(recording, setting) for recording in recordings]
    runs = _runs(recordings, wanted, setting, methods)
    blind = _runs(recordings, wanted, setting, methods, knows_peaks=False)
    waveforms = {method: (run(), blind[method]()) for method, run in runs.items()}  # also compiles and warms up
    seconds = thread_medians_s(runs, rounds)
    return [_figures(material, setting, method, seconds[method], recordings, *waveforms[method]) for method in runs]


def read(path: Path, rate_hz: int) -> FloatArray:
    """Return a recording as mono at a rate, cut to a few seconds, peak 1."""
    recording = librosa.load(path, sr=rate_hz, duration=LONGEST_S)[0]
    return np.asarray(recording / np.abs(recording).max(), np.float32)


def magnitude(recording: FloatArray, setting: Setting, *, finer: int = 1) -> FloatArray:
    """Return magnitudes (F, T) at a setting, or on a grid that is finer along time."""
    return np.abs(librosa.stft(recording, n_fft=setting.n_fft, hop_length=round(setting.hop_length / finer)))


def convergence_db(recording: FloatArray, waveform: FloatArray, setting: Setting) -> float:
    """Return how far a waveform's magnitudes are from the recording's at a quarter of the hop."""
    there, here = (magnitude(sound, setting, finer=4) for sound in (recording, waveform))
    return float(20 * np.log10(np.linalg.norm(here - there) / np.linalg.norm(there)))


def _runs(
    recordings: Sequence[FloatArray],
    wanted: Sequence[FloatArray],
    setting: Setting,
    methods: Sequence[str],
    *,
    knows_peaks: bool = True,
) -> dict[str, Callable[[], list[FloatArray]]]:
    geometry = {"n_fft": setting.n_fft, "hop_length": setting.hop_length}
    sizes = [recording.size for recording in recordings]
    peaks = [np.abs(recording).max() if knows_peaks else np.nan for recording in recordings]

    def ours(method: str) -> Callable[[], list[FloatArray]]:
        return lambda: [
            invert(clip[None], **geometry, method=method, length=size, peaks=[peak])[0]
            for clip, size, peak in zip(wanted, sizes, peaks, strict=True)
        ]

    def librosas() -> list[FloatArray]:
        return [
            librosa.griffinlim(clip, **geometry, n_iter=32, length=size, random_state=0)
            for clip, size in zip(wanted, sizes, strict=True)
        ]

    return {method: ours(method) for method in methods} | {REFERENCE: librosas}


def _figures(
    material: str,
    setting: Setting,
    method: str,
    seconds: float,
    recordings: Sequence[FloatArray],
    waveforms: Sequence[FloatArray],
    blind: Sequence[FloatArray],
) -> Figures:
    pairs = list(zip(recordings, waveforms, strict=True))
    speech: tuple[float | None, float | None] = (None, None)
    if material.startswith("speech"):
        scores = [judge([there], here[None], setting.sample_rate_hz) for there, here in pairs]
        speech = (_mean([score[0] for score in scores]), _mean([score[1] for score in scores]))
    return Figures(
        material=material,
        setting=setting,
        method=method,
        seconds=seconds,
        convergence_db=np.array([convergence_db(there, here, setting) for there, here in pairs]),
        peak_ratio=np.array([_peak_ratio(there, here) for there, here in pairs]),
        blind_peak_ratio=np.array([_peak_ratio(there, here) for there, here in zip(recordings, blind, strict=True)]),
        stoi=speech[0],
        pesq=speech[1],
    )


def _peak_ratio(there: FloatArray, here: FloatArray) -> float:
    return float(np.abs(here).max() / np.abs(there).max())


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return float(np.nanmean(known)) if known else None


HEAD = (
    "| material | setting | method | times as fast | hop / 4, dB | minus librosa's, dB | "
    "highest peak | peak unknown | STOI | PESQ |",
    "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
)


def lines(rows: Sequence[Figures]) -> list[str]:
    """Return the rows of one material and setting as lines of a Markdown table."""
    reference = next(row for row in rows if row.method == REFERENCE)
    return [_line(row, reference) for row in rows]


def _line(row: Figures, reference: Figures) -> str:
    mean_db, difference_db = row.convergence_db.mean(), (row.convergence_db - reference.convergence_db).mean()
    stoi, pesq = ("" if score is None else f"{score:.3f}" for score in (row.stoi, row.pesq))
    cells = (row.material, row.setting, row.method, f"{reference.seconds / row.seconds:.1f}")
    numbers = (
        f"{mean_db:.2f}",
        f"{difference_db:+.2f}",
        f"{row.peak_ratio.max():.2f}",
        f"{row.blind_peak_ratio.max():.2f}",
        stoi,
        pesq,
    )
    return "| " + " | ".join(map(str, cells + numbers)) + " |"


def choose(folder: Path, n_clips: int) -> list[Path]:
    """Return recordings spread over a folder, none of them silent or very short."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, len(found) // n_clips)
    usable = (path for path in found[::step] if librosa.get_duration(path=path) >= SHORTEST_S)
    return [path for path in usable if librosa.load(path, sr=None, duration=LONGEST_S)[0].any()][:n_clips]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("materials", nargs="+", metavar="NAME=DIR", help="folders of recordings")
    parser.add_argument("--clips", type=int, default=12, help="how many recordings of each, spread over the folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["pghi+gl", "fine"], metavar="METHOD")
    arguments = parser.parse_args()
    if wrong := [text for text in arguments.materials if not Path(text.partition("=")[2] or "/dev/null").is_dir()]:
        parser.error(f"expected NAME=DIR with a folder of recordings, received {wrong[0]!r}")
    print("\n".join(HEAD), flush=True)
    for name, _, folder in (text.partition("=") for text in arguments.materials):
        paths = choose(Path(folder), arguments.clips)
        for setting in SETTINGS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # pystoi, on clips with much silence
                rows = measure(name, paths, setting, arguments.methods, arguments.rounds)
            print("\n".join(lines(rows)), flush=True)


if __name__ == "__main__":
    main()
