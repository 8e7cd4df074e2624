"""A second recogniser of spoken digits: PocketSphinx with its own English model.

It was never trained on these recordings.
"""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np

from wavemill.arrays import FloatArray

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATES_HZ = (8_000, 16_000)  # of speech that it can hear
_RATE_HZ = 16_000  # of its model
_MARGIN_S = 0.3  # silence added on both sides, because a clip begins with its word
_GRAMMAR = f"#JSGF V1.0; grammar digits; public <digit> = {' | '.join(WORDS)};"


def hear_digits(sounds: Sequence[FloatArray], sample_rate_hz: int) -> list[str | None] | None:
    """Return the digit, `0` to `9`, that PocketSphinx hears in each sound.

    None without pocketsphinx, and at rates other than 8 and 16 kHz.

    It knows no other words, so it hears any other sound as some digit, or as nothing.
    """
    if sample_rate_hz not in RATES_HZ:
        return None
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
        decoder.process_raw(_pcm(sound, sample_rate_hz), full_utt=True)
        decoder.end_utt()
        answer = decoder.hyp()
        heard.append(str(WORDS.index(answer.hypstr)) if answer and answer.hypstr in WORDS else None)
    return heard


def _pcm(sound: FloatArray, sample_rate_hz: int) -> bytes:
    """Return 16-bit samples at half of full scale, with silence on both sides."""
    signal = librosa.resample(sound, orig_sr=sample_rate_hz, target_sr=_RATE_HZ)
    scaled = signal * (0.5 / max(float(np.abs(signal).max(initial=0)), 1e-9))
    padded = np.pad(scaled, round(_MARGIN_S * _RATE_HZ))
    return (padded * 32_767).astype("<i2").tobytes()
