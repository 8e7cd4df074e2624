"""The formats that sound can be stored in, and the sample rates that each of them has."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from wavemill.errors import UsageError

Format = Literal["wav", "wav24", "float", "flac", "ogg", "opus", "mp3"]

OUTPUT_RATES_HZ = (1_000, 384_000)  # the lowest and the highest rate that can be asked for


class Encoding(NamedTuple):
    """How sound is stored; container and subtype are soundfile's names.

    Attributes
    ----------
    sample_bytes, header_bytes : at most, to estimate the disk that a batch needs
    rates_hz : the sample rates that the format has, ascending
    compression : libsndfile's level from 0 (best) to 1 (smallest), for formats that lose something
    ascii_comment : whether a comment comes back changed unless it is ASCII
    """

    container: str
    subtype: str
    suffix: str
    sample_bytes: int
    header_bytes: int = 1_000
    rates_hz: Sequence[int] = range(1, 2**31)
    compression: float | None = None
    ascii_comment: bool = False


# The levels of compression are measured in docs/why.md. libsndfile crashes when it is asked for Vorbis at 384 kHz.
FORMATS: Mapping[str, Encoding] = {
    "wav": Encoding("WAV", "PCM_16", "wav", 2),
    "wav24": Encoding("WAV", "PCM_24", "wav", 3),
    "float": Encoding("WAV", "FLOAT", "wav", 4),
    "flac": Encoding("FLAC", "PCM_16", "flac", 2, rates_hz=range(1, 655_351)),
    "ogg": Encoding("OGG", "VORBIS", "ogg", 2, 8_000, range(1_000, 192_001), 0.1),
    "opus": Encoding("OGG", "OPUS", "opus", 3, 3_000, (8_000, 12_000, 16_000, 24_000, 48_000), 0.5),
    "mp3": Encoding(
        "MP3", "MPEG_LAYER_III", "mp3", 2, 3_000,
        (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000), 0.1, ascii_comment=True,
    ),
}  # fmt: skip


def stored_rate_hz(name: str, rate_hz: int) -> int:
    """Return the rate at which a format stores sound of `rate_hz`: the same, or the next that it has."""
    rates = FORMATS[name].rates_hz
    return rates[min(bisect_left(rates, rate_hz), len(rates) - 1)]


def require_rate(name: str, rate_hz: int | None) -> None:
    """Raise UsageError unless sound can be stored in a format at `rate_hz`; None is the sound's own rate."""
    if rate_hz is None:
        return
    lowest, highest = OUTPUT_RATES_HZ
    if type(rate_hz) is not int or not lowest <= rate_hz <= highest:
        raise UsageError(f"output rate {rate_hz!r:.40}: expected a whole number of Hz from {lowest} to {highest}")
    if (nearest := stored_rate_hz(name, rate_hz)) != rate_hz:
        raise UsageError(f"{name} cannot hold sound at {rate_hz} Hz; the nearest rate that it has is {nearest} Hz")


# The suffix of a sound's file -> its media type.
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "opus": "audio/ogg", "mp3": "audio/mpeg"}
