"""`invert_blocks`: inversion of a clip whose magnitudes come in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.inversion import invert

_BLOCK_FRAMES = 2_048


def invert_blocks(
    read_block: Callable[[int, int], FloatArray],
    n_frames: int,
    *,
    n_fft: int,
    hop_length: int,
    method: str = "pghi+gl",
    length: int,
) -> Iterator[FloatArray]:
    """Estimate one waveform, and yield it in consecutive pieces.

    Parameters
    ----------
    read_block : callable
        Called with the first frame and the one after the last; returns the magnitudes of these
        frames, float32 [shape=(n_fft // 2 + 1, last - first)].
    n_frames : int > 0
    length : int >= 0, in samples
        Of all pieces together.

    Yields
    ------
    float32 [shape=(samples,)]
    """
    starts = range(0, n_frames, _BLOCK_FRAMES)
    blocks = [read_block(first, min(first + _BLOCK_FRAMES, n_frames)) for first in starts]
    magnitude = np.concatenate(blocks, axis=1)[None]  # (F, T) -> (1, F, T)
    yield invert(magnitude, n_fft=n_fft, hop_length=hop_length, method=method, length=length)[0]
