"""A second recogniser of spoken digits: PocketSphinx with its own English model.

It was never trained on these recordings.
"""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np

from wavemill.arrays import FloatArray
from wavemill.evaluation.clips import JUDGED

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_RATE_HZ = 16_000  # of its model
_MARGIN_S = 0.3  # silence added on both sides, because a clip begins with its word
_GRAMMAR = f"#JSGF V1.0; grammar digits; public <digit> = {' | '.join(WORDS)};"


def hear_digits(sounds: Sequence[FloatArray]) -> list[str | None] | None:
    """Return the digit, `0` to `9`, that PocketSphinx hears in each sound at 8 kHz, or None without pocketsphinx.

    It knows no other words, so it hears any other sound as some digit, or as nothing.
    """
    try:
        from pocketsphinx import Decoder
    except ModuleNotFoundError:
        return None
    # Normalise over each sound, not over earlier sounds too, so that answers do not depend on their
    # order.
    decoder = Decoder(lm=None, cmn="batch", loglevel="FATAL")
    decoder.add_jsgf_string("digits", _GRAMMAR)
    decoder.activate_search("digits")
    heard: list[str | None] = []
    for sound in sounds:
        decoder.start_utt()
        decoder.process_raw(_pcm(sound), full_utt=True)
        decoder.end_utt()
        answer = decoder.hyp()
        heard.append(str(WORDS.index(answer.hypstr)) if answer and answer.hypstr in WORDS else None)
    return heard


def _pcm(sound: FloatArray) -> bytes:
    """Return 16-bit samples at half of full scale, with silence on both sides."""
    signal = librosa.resample(sound, orig_sr=JUDGED.sample_rate_hz, target_sr=_RATE_HZ)
    scaled = signal * (0.5 / max(float(np.abs(signal).max(initial=0)), 1e-9))
    padded = np.pad(scaled, round(_MARGIN_S * _RATE_HZ))
    return (padded * 32_767).astype("<i2").tobytes()
