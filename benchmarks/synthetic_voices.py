"""Spoken digits by espeak-ng's voices: `python -m benchmarks.synthetic_voices FOLDER`.

Material for `wavemill train --add`, so that a model has heard more voices than six, or with `--unheard` by voices that
are left out of it, to measure what a model makes of a voice it never heard.
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from wavemill.arrays import FloatArray

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    "adam Alex Alicia Andrea Andy Annie announcer antonio aunty belinda benjamin boris caleb david Denis Diogo "
    "ed edward f1 f2 f3 f4 Gene grandma grandpa gustave Henrique Hugo iven iven2 Jacky john kaukovalta klatt "
    "klatt2 klatt3 Lee linda m1 m2 m3 m4 m5 m6 m7 Marco Mario max Michael Mike miguel norbert pablo paul pedro "
    "quincy rob robert"
)
UNHEARD = "anika f5 klatt4 klatt6 m8 marcelo michel Nguyen sandro shelby steph steph2 travis victor"
_QUIET_DB = 35.0  # what is so far under the peak at either end is cut off, as in FSDD


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What espeak-ng is asked for."""

    accent: str
    variant: str
    pitch: int  # 0 to 99
    words_per_minute: int


def say(word: str, voice: Voice) -> tuple[FloatArray, int]:
    """Return a word spoken by a voice, without the silence around it, and its rate in Hz."""
    options = ("-v", f"{voice.accent}+{voice.variant}", "-p", str(voice.pitch), "-s", str(voice.words_per_minute))
    spoken = subprocess.run(["espeak-ng", *options, "--stdout", word], check=True, capture_output=True).stdout
    signal, rate_hz = soundfile.read(io.BytesIO(spoken), dtype="float32")
    return trim(signal, rate_hz), rate_hz


def trim(signal: FloatArray, rate_hz: int) -> FloatArray:
    """Cut the quiet ends off, 10 ms at a time."""
    size = rate_hz // 100
    blocks = signal[: len(signal) // size * size].reshape(-1, size)
    power = np.square(blocks).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-_QUIET_DB / 10))
    return signal[loud[0] * size : (loud[-1] + 2) * size]


def voices(count: int, variants: list[str], seed: int) -> Iterator[tuple[int, Voice]]:
    """Yield a digit and a random voice, `count` times."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield (
            i % 10,
            Voice(
                accent=str(rng.choice(ACCENTS)),
                variant=str(rng.choice(variants)),
                pitch=int(rng.integers(10, 91)),
                words_per_minute=int(rng.integers(110, 221)),
            ),
        )


def main() -> None:
    """Write `digit_accent-variant_number.wav` files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthetic_voices", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2_400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unheard", action="store_true", help="other voices than without this option")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    variants = (UNHEARD if arguments.unheard else VARIANTS).split()
    for number, (digit, voice) in enumerate(voices(arguments.count, variants, arguments.seed)):
        name = f"{digit}_{voice.accent}-{voice.variant}_{number}.wav"
        soundfile.write(arguments.folder / name, *say(WORDS[digit], voice), subtype="PCM_16")


if __name__ == "__main__":
    main()
