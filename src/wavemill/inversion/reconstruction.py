"""Reconstruct one clip: from its magnitudes to its waveform."""

from __future__ import annotations

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.inversion.clip import Clip, with_frames_between
from wavemill.inversion.methods import (
    PEAK_MARGIN,
    PEAK_SHARE,
    ROUGH,
    ROUGH_AND_SHORT,
    ROUGH_MOMENTUM,
    Method,
    treats_rough,
)
from wavemill.inversion.phases import PhaseArray, spectra_of
from wavemill.inversion.stft import Stft, fold, stft_for, unfold
from wavemill.inversion.transforms import Transforms


def reconstruct(clip: Clip, method: Method, n_iter: int | None, transforms: Transforms, signal: FloatArray) -> None:
    """Write a clip's waveform into `signal`, cut to its size; `n_iter` None means the method's usual number."""
    folded = _find(clip, method, n_iter, transforms)
    unfold(clip.full, folded, np.float32(clip.scale), signal)


def starting_phases(clip: Clip, method: Method) -> tuple[PhaseArray, FloatArray, Stft]:
    """Return the phases that a method starts from, with their magnitudes and their transform."""
    if not method.is_fine:
        return method.start(clip, clip.magnitude, clip.work), clip.magnitude, clip.work
    fine, n_frames = fine_stft(clip.work), clip.work.n_frames
    dense = np.zeros(fine.n_rows * fine.n_lanes, np.float32)
    rows = dense[: clip.work.n_rows * fine.n_lanes]
    with_frames_between(clip.magnitude, n_frames, clip.work.n_lanes, rows, fine.n_lanes)
    return method.start(clip, dense, fine), dense, fine


def fine_stft(stft: Stft) -> Stft:
    """Return the transform of twice the frames; for an odd hop, at twice the sample rate."""
    even = _even_stft(stft)
    return stft_for(even.n_fft, even.hop_length // 2, 2 * even.n_frames - 1, even.n_samples)


def _even_stft(stft: Stft) -> Stft:
    """Return the transform itself, or for an odd hop the same frames at twice the sample rate."""
    if stft.hop_length % 2 == 0:
        return stft
    return stft_for(2 * stft.n_fft, 2 * stft.hop_length, stft.n_frames, 2 * stft.n_samples)


def _find(clip: Clip, method: Method, n_iter: int | None, transforms: Transforms) -> FloatArray:
    phases, magnitude, stft = starting_phases(clip, method)
    may_be_rough = treats_rough(method, n_iter, stft)
    n_iter = (method.n_iter or 0) if n_iter is None else n_iter
    if n_iter == 0:
        return _synthesized(clip.full, clip.magnitude, _given(phases, clip) if method.is_fine else phases, transforms)
    folded = _synthesized(stft, magnitude, phases, transforms)
    if method.is_fine:
        transforms.polish(stft, magnitude, folded, n_iter - 1, np.float32(clip.limit))
        # The given frames are every second fine one, so the last fine iteration is done on them
        # instead.
        even = _even_stft(clip.work)
        folded = _refolded(stft, folded, even)
        if even is clip.work:
            return _polished(clip, folded, n_iter + 1, transforms)
        return _polished(clip, _halved(clip, folded, even, transforms), n_iter, transforms)
    if method.momentum:
        return _searched(clip, folded, n_iter, method.momentum, clip.limit, transforms)
    if may_be_rough:
        error = transforms.polish_once(clip.work, clip.magnitude, folded)
        levels = ROUGH_AND_SHORT if clip.is_short else ROUGH
        if n_fast := max((n for level, n in levels if error > level), default=0):
            return _searched(clip, folded, n_fast - 1, ROUGH_MOMENTUM, _limit(clip, folded), transforms)
        n_iter -= 1
    return _polished(clip, folded, n_iter, transforms)


def _given(phases: PhaseArray, clip: Clip) -> PhaseArray:
    """Return the phases of the given frames, without those between them."""
    n_frames = clip.work.n_frames
    given = np.zeros((clip.n_rows, clip.work.n_lanes), np.int32)
    given[:, :n_frames] = phases.reshape(clip.n_rows, -1)[:, : 2 * n_frames : 2]
    return given.ravel()


def _synthesized(stft: Stft, magnitude: FloatArray, phases: PhaseArray, transforms: Transforms) -> FloatArray:
    spectra = np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    spectra_of(magnitude, phases, stft.n_lanes, spectra)
    folded = np.empty(stft.weight.size, np.float32)
    transforms.synthesize(stft, spectra, folded)
    return folded


def _refolded(fine: Stft, folded: FloatArray, stft: Stft) -> FloatArray:
    """Return a folded signal, folded for another hop."""
    signal = np.empty(fine.n_samples, np.float32)
    unfold(fine, folded, np.float32(1), signal)
    other = np.empty(stft.weight.size, np.float32)
    fold(stft, signal, other)
    return other


def _halved(clip: Clip, folded: FloatArray, even: Stft, transforms: Transforms) -> FloatArray:
    """Run one iteration on a signal at twice the sample rate; return the result at the clip's own."""
    wide = np.zeros(even.n_rows * even.n_lanes, np.float32)
    wide[: clip.magnitude.size] = clip.magnitude
    spectra = np.empty(even.n_rows * 2 * even.n_lanes, np.float32)
    transforms.project(even, wide, folded, spectra)
    halved = np.empty(clip.work.weight.size, np.float32)
    transforms.synthesize(clip.work, spectra[: clip.work.n_rows * 2 * clip.work.n_lanes], halved)
    return halved


def _polished(clip: Clip, folded: FloatArray, n_iter: int, transforms: Transforms) -> FloatArray:
    """Iterate; at a lower sample rate, make the last synthesis at the full rate."""
    if clip.work is clip.full:
        transforms.polish(clip.work, clip.magnitude, folded, n_iter, np.float32(clip.limit))
        return folded
    transforms.polish(clip.work, clip.magnitude, folded, n_iter - 1, np.float32(clip.limit))
    spectra = np.zeros(clip.full.n_rows * 2 * clip.full.n_lanes, np.float32)
    transforms.project(clip.work, clip.magnitude, folded, spectra)
    return _raised(clip, spectra, transforms)


def _searched(
    clip: Clip, folded: FloatArray, n_iter: int, momentum: float, limit: float, transforms: Transforms
) -> FloatArray:
    """Iterate with momentum, then convert the signal to the full sample rate."""
    transforms.search(clip.work, clip.magnitude, folded, n_iter, momentum, np.float32(limit))
    if clip.work is clip.full:
        return folded
    spectra = np.zeros(clip.full.n_rows * 2 * clip.full.n_lanes, np.float32)
    transforms.analyze(clip.work, folded, spectra)
    return _raised(clip, spectra, transforms)


def _limit(clip: Clip, folded: FloatArray) -> float:
    """Return the source's peak; if it is unknown, an estimate from a first signal."""
    if np.isfinite(clip.limit):
        return clip.limit
    n_above = int(PEAK_SHARE * clip.work.n_samples)
    return PEAK_MARGIN * float(np.partition(np.abs(folded), -1 - n_above)[-1 - n_above])


def _raised(clip: Clip, spectra: FloatArray, transforms: Transforms) -> FloatArray:
    """Return the signal at the full rate, from spectra that are 0 above the lower rate's rows."""
    folded = np.empty(clip.full.weight.size, np.float32)
    transforms.synthesize(clip.full, spectra, folded)
    return folded
