"""How much of a recording a spectrogram holds: one frame, or all of it. Standard library only."""

from __future__ import annotations

from math import ceil
from typing import Literal, get_args

from wavemill.feature_options import named
from wavemill.presets import Features

# What becomes of recordings that are longer than a frame:
# cut: the first frame is kept; split: a spectrogram for each frame; keep: one spectrogram for all of it.
Long = Literal["cut", "split", "keep"]
LONG: tuple[Long, ...] = get_args(Long)

_CUTTING = ("digits", "digits-mel", "course")  # presets whose spectrograms all have the shape of a frame
_STEP = 16  # frames; lengths are rounded up to it, so that clips of nearly the same length have one shape
LONGEST_S = 1e6
MOST_NUMBERS = 2**24  # of a spectrogram that is computed at once; a longer one is computed in blocks


def usual_long(features: Features) -> Long:
    """Return what becomes of long recordings if nobody says it."""
    return "cut" if named(features).preset in _CUTTING else "keep"


def frames_of(features: Features, long: str, n_samples: int) -> int:
    """Return the number of frames of a spectrogram that holds `n_samples` samples of sound.

    Without `keep` it is that of a frame. With `keep`, a sound has the frames that it needs, rounded
    up to a multiple of 16, and at least one window; up to the length of a frame it never has more
    than a frame.
    """
    if long != "keep":
        return features.n_frames
    needed = max(n_samples, features.n_fft)
    n_frames = _STEP * ceil((1 + ceil(needed / features.hop_length)) / _STEP)
    return min(n_frames, features.n_frames) if n_samples <= features.n_samples else n_frames


def shape_of(features: Features, long: str, duration_s: float) -> tuple[int, int]:
    """Return (n_bins, n_frames) of the spectrogram of a sound of `duration_s`."""
    return features.n_bins, frames_of(features, long, round(duration_s * features.sample_rate_hz))


def longest_whole_s(features: Features) -> float:
    """Return the length up to which a kept recording is read at once, in seconds; at least a frame."""
    return max(MOST_NUMBERS // features.n_bins * features.hop_length / features.sample_rate_hz, features.duration_s)


def is_huge(shape: tuple[int, int]) -> bool:
    """Return whether a spectrogram is too large to be computed, read or rendered at once."""
    return shape[0] * shape[1] > MOST_NUMBERS
