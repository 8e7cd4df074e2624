"""How each method finds a signal for the magnitudes of one clip.

Sound that ends below a quarter of the rate is iterated at half the rate: the same rows, from half the samples. Only
the last synthesis is at the full rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavemill.inversion.clip import with_frames_between
from wavemill.inversion.fft import FloatArray
from wavemill.inversion.griffin_lim import polish, project, search
from wavemill.inversion.pghi import integrate
from wavemill.inversion.phases import TURN, PhaseArray, scattered, spectra_of
from wavemill.inversion.stft import Stft, analyze, fold, stft_for, synthesize, unfold

# Rows left free under half the lower rate. A signal reaches further than its spectra: the window adds a row, and
# the division by the window sum a tail that falls by 15 dB in two.
MARGIN_ROWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A clip's magnitudes, scaled to about 1 at most, and the transforms to use."""

    magnitude: FloatArray  # (F, P) of `work`, flat
    n_rows: int  # from this one on they are 0
    peak: float
    floor: float
    work: Stft  # for iterations: `full`, or that of half its rate (or of a quarter, and so on)
    full: Stft


def work_stft(full: Stft, n_rows: int, *, hop_unit: int) -> Stft:
    """Return the transform of the lowest rate that holds `n_rows` rows, with a hop that is a multiple of `hop_unit`."""
    work = full
    while work.n_fft % 4 == 0 and work.hop_length % (2 * hop_unit) == 0 and n_rows + MARGIN_ROWS <= work.n_fft // 4:
        n_samples = -(-work.n_samples // 2)
        work = stft_for(work.n_fft // 2, work.hop_length // 2, work.n_frames, n_samples)
    return work


def by_integration(clip: Clip, n_iter: int) -> FloatArray:
    """Integrate phases, then iterate."""
    phases = integrate(clip.work, clip.magnitude, n_rows=clip.n_rows, peak=clip.peak, floor=clip.floor)
    if n_iter == 0:
        return _synthesized(clip.full, clip.magnitude, phases)
    return _polished(clip, _synthesized(clip.work, clip.magnitude, phases), n_iter)


def by_finer_integration(clip: Clip, n_iter: int) -> FloatArray:
    """Integrate and iterate on twice the frames, those between being the mean in dB; then iterate on those given."""
    work, T = clip.work, clip.work.n_frames
    fine = stft_for(work.n_fft, work.hop_length // 2, 2 * T - 1, work.n_samples)
    dense = np.empty(fine.n_rows * fine.n_lanes, np.float32)
    with_frames_between(clip.magnitude, T, work.n_lanes, dense, fine.n_lanes)
    phases = integrate(fine, dense, n_rows=clip.n_rows, peak=clip.peak, floor=clip.floor)
    if n_iter == 0:
        given = np.zeros((clip.n_rows, work.n_lanes), np.int32)
        given[:, :T] = phases.reshape(clip.n_rows, -1)[:, : 2 * T : 2]
        return _synthesized(clip.full, clip.magnitude, given.ravel())
    folded = _synthesized(fine, dense, phases)
    polish(fine, dense, folded, n_iter - 1)
    signal = np.empty(fine.n_samples, np.float32)
    unfold(fine, folded, np.float32(1), signal)
    folded = np.empty(work.weight.size, np.float32)
    fold(work, signal, folded)
    return _polished(clip, folded, n_iter + 1)  # the fine iteration that is left, on every second frame, and its own


def by_search(clip: Clip, n_iter: int) -> FloatArray:
    """Iterate with momentum from scattered phases."""
    folded = _synthesized(clip.work, clip.magnitude, scattered(clip.n_rows, clip.work.n_lanes).ravel())
    search(clip.work, clip.magnitude, folded, n_iter, 0.99)
    if clip.work is clip.full:
        return folded
    spectra = np.zeros(clip.full.n_rows * 2 * clip.full.n_lanes, np.float32)
    analyze(clip.work, folded, spectra)
    return _raised(clip, spectra)


def by_centre(clip: Clip, _n_iter: int) -> FloatArray:
    """Take every frame for an even pulse at its window's centre."""
    phases = np.zeros((clip.n_rows, clip.full.n_lanes), np.int32)
    phases[1::2] = TURN // 2
    return _synthesized(clip.full, clip.magnitude, phases.ravel())


def by_zero(clip: Clip, _n_iter: int) -> FloatArray:
    """Take every frame for an even pulse at its first sample, where the window is zero: what the course does."""
    return _synthesized(clip.full, clip.magnitude, np.zeros(clip.n_rows * clip.full.n_lanes, np.int32))


def _synthesized(stft: Stft, magnitude: FloatArray, phases: PhaseArray) -> FloatArray:
    spectra = np.empty(stft.n_rows * 2 * stft.n_lanes, np.float32)
    spectra_of(magnitude, phases, stft.n_lanes, spectra)
    folded = np.empty(stft.weight.size, np.float32)
    synthesize(stft, spectra, folded)
    return folded


def _polished(clip: Clip, folded: FloatArray, n_iter: int) -> FloatArray:
    """Iterate at the lower rate, then go to the full one with the last phases."""
    if clip.work is clip.full:
        polish(clip.work, clip.magnitude, folded, n_iter)
        return folded
    polish(clip.work, clip.magnitude, folded, n_iter - 1)
    spectra = np.zeros(clip.full.n_rows * 2 * clip.full.n_lanes, np.float32)
    project(clip.work, clip.magnitude, folded, spectra)
    return _raised(clip, spectra)


def _raised(clip: Clip, spectra: FloatArray) -> FloatArray:
    """Return the signal at the full rate; its spectra begin with those at the lower rate."""
    folded = np.empty(clip.full.weight.size, np.float32)
    synthesize(clip.full, spectra, folded)
    return folded
