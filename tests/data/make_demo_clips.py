"""Make the demo's spoken digits with the free synthesiser espeak-ng: python tests/data/make_demo_clips.py FOLDER."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLE_RATE_HZ = 8_000
PEAK = 0.7
KEPT_BELOW_PEAK_DB = 40.0
MARGIN_S = 0.02  # kept around the word, faded


@dataclass(frozen=True, kw_only=True)
class Voice:
    name: str
    espeak_voice: str
    pitch: int  # 0 to 99
    words_per_minute: int


VOICES = (
    Voice(name="anna", espeak_voice="en-us+f3", pitch=62, words_per_minute=150),
    Voice(name="ben", espeak_voice="en-gb+m3", pitch=38, words_per_minute=140),
    Voice(name="clara", espeak_voice="en-gb-scotland+f2", pitch=70, words_per_minute=165),
    Voice(name="dan", espeak_voice="en-us+m7", pitch=25, words_per_minute=155),
)


def speak(word: str, voice: Voice) -> np.ndarray:
    """Return the word at 8 kHz, trimmed to the sound in it."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "spoken.wav"
        command = ["espeak-ng", "-v", voice.espeak_voice, "-p", str(voice.pitch), "-s", str(voice.words_per_minute)]
        subprocess.run([*command, "-w", str(wav), word], check=True)
        signal, _ = librosa.load(wav, sr=SAMPLE_RATE_HZ)
    _, (start, end) = librosa.effects.trim(signal, top_db=KEPT_BELOW_PEAK_DB, frame_length=256, hop_length=64)
    margin = int(MARGIN_S * SAMPLE_RATE_HZ)
    kept = signal[max(start - margin, 0) : end + margin].copy()
    fade = np.linspace(0.0, 1.0, margin, dtype=np.float32)
    kept[:margin] *= fade
    kept[-margin:] *= fade[::-1]
    return kept * (PEAK / np.abs(kept).max())


def main(folder: Path) -> None:
    """Write two clips of each digit, the four voices taking turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for digit, word in enumerate(WORDS):
        for turn in range(2):
            voice = VOICES[(digit + 2 * turn + digit // 4) % len(VOICES)]
            signal = speak(word, voice)
            soundfile.write(folder / f"{digit}_{voice.name}_0.wav", signal, SAMPLE_RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
