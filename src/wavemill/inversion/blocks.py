"""Invert a clip of any length block by block, in bounded memory and without seams.

Consecutive blocks overlap. A block starts from the phases that the block before gave to the first
frames of the overlap, so both have nearly the same waveform there, and a cross-fade joins them. The
outermost frames of a block are left out: their windows hold sound that the block does not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.inversion.arguments import check_counts, check_magnitude, check_peaks
from wavemill.inversion.clip import read_clip
from wavemill.inversion.inversion import choose, invert
from wavemill.inversion.methods import Method
from wavemill.inversion.phases import TURN, PhaseArray
from wavemill.inversion.reconstruction import reconstruct
from wavemill.inversion.stft import fold, stft_for
from wavemill.inversion.transforms import Transforms, transforms_named

# (first, last) -> magnitudes (n_fft // 2 + 1, last - first) of these frames
ReadBlock = Callable[[int, int], FloatArray]

BLOCK_FRAMES = 2_048  # 170 MB of working memory at n_fft 2048


class _Grid(NamedTuple):
    """How frames, samples and blocks lie, and how high the samples may be."""

    n_fft: int
    hop_length: int
    n_frames: int
    margin: int  # frames at each end of a block that are left out
    fade: int  # frames over which blocks are cross-faded; as many first frames get known phases
    peak: float  # of the source


def invert_blocks(
    read_block: ReadBlock,
    n_frames: int,
    *,
    n_fft: int,
    hop_length: int,
    method: str = "pghi+gl",
    length: int | None = None,
    peak: float = math.inf,
    block_frames: int = BLOCK_FRAMES,
    transforms: str | None = None,
) -> Iterator[FloatArray]:
    """Estimate the waveform of one long clip, piece by piece.

    A clip of at most `block_frames` frames gives one piece, with the bytes that `invert` gives.

    Parameters
    ----------
    read_block : callable
        Takes the numbers of a first frame and of the frame after the last; returns the magnitudes
        of these frames, float32 [shape=(n_fft // 2 + 1, frames)], as `invert` takes them. Called
        with ranges that advance and overlap, whenever the next piece is asked for.
    n_frames : int >= 1
        Frames of the whole clip.
    block_frames : int
        Frames that are inverted at once, at least 24 windows long.
    peak : float > 0
        Highest absolute sample of the source; infinite if it is not known.
    method, length, transforms
        As for `invert`. Phases go on from block to block for the methods that integrate them.

    Yields
    ------
    float32 [shape=(samples,)]
        Consecutive pieces, together `length` samples.

    Raises
    ------
    UsageError
        As `invert` does, at the call; for magnitudes, when their piece is asked for.
    """
    chosen = choose(method, None, n_fft=n_fft, hop_length=hop_length)
    check_counts(length=length, n_threads=1)
    functions = transforms_named(transforms)
    peak = float(check_peaks([peak], 1)[0])
    margin = -(-n_fft // hop_length)
    if n_frames < 1:
        raise UsageError(f"expected n_frames >= 1, received {n_frames}")
    if block_frames < 24 * margin:
        raise UsageError(f"expected block_frames >= {24 * margin}, 24 windows, received {block_frames}")
    total = (n_frames - 1) * hop_length if length is None else length
    if n_frames <= block_frames:
        whole = partial(
            invert,
            n_fft=n_fft,
            hop_length=hop_length,
            method=method,
            length=length,
            peaks=[peak],
            transforms=transforms,
        )
        return (whole(read_block(0, n_frames)[None])[0] for _ in range(1))
    grid = _Grid(n_fft, hop_length, n_frames, margin, 2 * margin, peak)
    return _cut(_pieces(read_block, grid, chosen, total, block_frames, functions), total)


def _pieces(
    read_block: ReadBlock, grid: _Grid, method: Method, total: int, block_frames: int, transforms: Transforms
) -> Iterator[FloatArray]:
    hop, first, start = grid.hop_length, 0, 0  # `start`: samples of the block that were handed out
    known, tail = None, np.empty(0, np.float32)
    while True:
        last = min(first + block_frames, grid.n_frames)
        if grid.n_frames - last < block_frames // 4:  # no short block at the end
            last = grid.n_frames
        is_end = last == grid.n_frames
        length = max(total - first * hop, 0) if is_end else None
        signal = _inverted(read_block(first, last), grid, method, length, known, transforms)
        signal[start : start + tail.size] = _faded(tail, signal[start : start + tail.size])
        if is_end:
            yield signal[start:]
            return
        following = last - 2 * grid.margin - grid.fade
        end = (following + grid.margin - first) * hop
        yield signal[start:end]
        known = _phases(signal, following - first, grid, transforms)
        tail, start = signal[end:][: grid.fade * hop], grid.margin * hop
        first = following


def _inverted(
    magnitude: FloatArray,
    grid: _Grid,
    method: Method,
    length: int | None,
    known: PhaseArray | None,
    transforms: Transforms,
) -> FloatArray:
    """Return the waveform of one block, of all of its samples."""
    clips = check_magnitude(magnitude[None], n_fft=grid.n_fft)
    stft = stft_for(grid.n_fft, grid.hop_length, clips.shape[2], length)
    signal = np.zeros(stft.n_samples, np.float32)
    clip = read_clip(clips, 0, stft=stft, hop_unit=2 if method.is_fine else 1, limit=grid.peak)
    if clip is not None:
        reconstruct(replace(clip, known=known, is_short=False), method, None, transforms, signal)
    return signal


def _phases(signal: FloatArray, frame: int, grid: _Grid, transforms: Transforms) -> PhaseArray | None:
    """Return the phases (F, fade) of the frames of a signal from number `frame` on; None for silence."""
    hop, around = grid.hop_length, grid.margin
    part = signal[(frame - around) * hop :][: (grid.fade + 2 * around) * hop]
    stft = stft_for(grid.n_fft, hop, grid.fade + 2 * around + 1, part.size)
    if not part.any():
        return None
    folded, spectra = np.empty_like(stft.weight), np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    fold(stft, part / np.abs(part).max(), folded)
    transforms.analyze(stft, folded, spectra)
    real, imag = np.moveaxis(spectra.reshape(stft.n_rows, 2, -1)[:, :, around : around + grid.fade], 1, 0)
    return np.asarray(np.round(np.arctan2(imag, real) * (TURN / (2 * np.pi))), np.int32)


def _faded(old: FloatArray, new: FloatArray) -> FloatArray:
    """Return the cross-fade from one signal to another of the same length, or shorter at the end."""
    rising = (np.arange(new.size, dtype=np.float32) + np.float32(0.5)) / max(old.size, 1)
    return np.asarray(old[: new.size] + rising * (new - old[: new.size]), np.float32)


def _cut(pieces: Iterator[FloatArray], total: int) -> Iterator[FloatArray]:
    """Hand on pieces until there are `total` samples; fill up with zeros."""
    missing = total
    for piece in pieces:
        if missing == 0:
            return
        yield piece[:missing]
        missing -= min(piece.size, missing)
    if missing:
        yield np.zeros(missing, np.float32)
