"""The methods of `invert` with transforms on a GPU, many clips at once, in TensorFlow with XLA.

Phase integration stays on the CPU, since it goes from bin to bin and cannot run in parallel; it
takes one core 0.05 to 0.1 ms a clip. GPU calls are asynchronous, so the GPU iterates while the CPU
integrates the next clips.

This has never run on a GPU. On a CPU its operations agree with `invert` to 0.2 %.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.arguments import check_counts, check_magnitude, check_peaks
from wavemill.inversion.clip import SHORT, read_clip
from wavemill.inversion.inversion import choose, each
from wavemill.inversion.methods import (
    PEAK_MARGIN,
    PEAK_SHARE,
    ROUGH,
    ROUGH_AND_SHORT,
    ROUGH_MOMENTUM,
    Method,
    treats_rough,
)
from wavemill.inversion.phases import TURN, PhaseArray
from wavemill.inversion.reconstruction import fine_stft, starting_phases
from wavemill.inversion.stft import Stft, hann, stft_for, unfold

BLOCK = 32  # clips per call; XLA compiles this one shape, and fewer clips are padded to it


def invert_on_gpu(
    magnitude: FloatArray,
    *,
    n_fft: int,
    hop_length: int,
    method: str = "pghi+gl",
    length: int | None = None,
    peaks: npt.ArrayLike | None = None,
    n_iter: int | None = None,
    n_threads: int = 1,
    device: str = "/GPU:0",
) -> FloatArray:
    """Estimate waveforms as `wavemill.inversion.invert` does, with transforms on a GPU.

    Parameters, result and errors are those of `invert`. `n_threads` is the number of CPU threads
    that integrate phases; `device` is TensorFlow's name of the GPU. Every GPU call has the same
    shape, so that a clip's kernels do not depend on how many clips come with it.
    """
    from wavemill.keras_seam import tf  # imported late: it takes seconds

    chosen = choose(method, n_iter, n_fft=n_fft, hop_length=hop_length)
    check_counts(length=length, n_threads=n_threads)
    clips = check_magnitude(magnitude, n_fft=n_fft)
    limits = check_peaks(peaks, len(clips))
    stft = stft_for(n_fft, hop_length, clips.shape[2], length)
    program = _program(n_fft, hop_length, clips.shape[2], length, chosen, n_iter)
    pending = []
    with tf.device(device):
        for first in range(0, len(clips), BLOCK):
            sizes, phases, scales = _read_block(clips[first : first + BLOCK], first, stft, chosen, n_threads)
            highest = np.ones(BLOCK, np.float32)
            n_clips = len(limits[first : first + BLOCK])
            highest[:n_clips] = limits[first : first + BLOCK] / np.where(scales[:n_clips] > 0, scales[:n_clips], 1)
            pending.append((first, scales, program(tf.constant(sizes), tf.constant(phases), tf.constant(highest))))
    waveforms = np.zeros((len(clips), stft.n_samples if length is None else length), np.float32)
    n_kept = min(stft.n_samples, waveforms.shape[1])
    for first, scales, signals in pending:
        kept = waveforms[first : first + BLOCK, :n_kept]
        np.multiply(signals.numpy()[: len(kept), :n_kept], scales[: len(kept), None], out=kept)
    return waveforms


def first_gpu() -> str | None:
    """Return TensorFlow's name of the first GPU that this process may use; None without one."""
    from wavemill.keras_seam import tf

    gpus = tf.config.list_logical_devices("GPU")
    return str(gpus[0].name) if gpus else None


def _read_block(
    clips: FloatArray, first: int, stft: Stft, method: Method, n_threads: int
) -> tuple[FloatArray, PhaseArray, FloatArray]:
    """Return magnitudes (BLOCK, T, F), phases (BLOCK, T or 2 T - 1, F) and scales (BLOCK,).

    All are 0 for silence.
    """
    T = stft.n_frames
    sizes = np.zeros((BLOCK, T, stft.n_rows), np.float32)
    phases = np.zeros((BLOCK, 2 * T - 1 if method.is_fine else T, stft.n_rows), np.int32)
    scales = np.zeros(BLOCK, np.float32)

    def read(index: int) -> None:
        clip = read_clip(clips, index, stft=stft, hop_unit=1, lower_rate=False, number=first + index)
        if clip is not None:
            started, _, frames = starting_phases(clip, method)
            sizes[index] = clip.magnitude.reshape(stft.n_rows, -1)[:, :T].T
            phases[index, :, : clip.n_rows] = started.reshape(clip.n_rows, -1)[:, : frames.n_frames].T
            scales[index] = clip.scale

    each(read, n_items=len(clips), n_threads=n_threads)
    return sizes, phases, scales


@lru_cache(maxsize=8)
def _program(n_fft: int, hop_length: int, n_frames: int, length: int | None, method: Method, n_iter: int | None) -> Any:
    """Return a compiled function from magnitudes (BLOCK, T, F) and phases to signals (BLOCK, L)."""
    from wavemill.keras_seam import tf

    given = stft_for(n_fft, hop_length, n_frames, length)
    fine = fine_stft(given) if method.is_fine else None

    may_be_rough = treats_rough(method, n_iter, given)
    n_plain = (method.n_iter or 0) if n_iter is None else n_iter

    def run(magnitude: tf.Tensor, phases: tf.Tensor, peaks: tf.Tensor) -> tf.Tensor:
        limit = peaks[:, None]  # (B, 1)
        angles = tf.cast(tf.bitwise.bitwise_and(phases, TURN - 1), tf.float32) * (2 * np.pi / TURN)
        sizes = magnitude if fine is None else _with_frames_between(magnitude)
        spectra = tf.complex(sizes * tf.cos(angles), sizes * tf.sin(angles))
        if fine is not None:
            rows_above = [[0, 0], [0, 0], [0, fine.n_rows - given.n_rows]]  # for an odd hop
            sizes, spectra = tf.pad(sizes, rows_above), tf.pad(spectra, rows_above)
            spectra = _iterate(fine, sizes, spectra, n_plain, method.momentum, limit)[:, ::2, : given.n_rows]
        if may_be_rough:
            return _synthesize(given, _settle(given, magnitude, spectra, n_plain, limit))
        return _synthesize(given, _iterate(given, magnitude, spectra, n_plain, method.momentum, limit))

    return tf.function(run, jit_compile=True, autograph=False)


def _with_frames_between(magnitude: Any) -> Any:
    from wavemill.keras_seam import tf

    between = tf.sqrt(magnitude[:, :-1] * magnitude[:, 1:])
    pairs = tf.stack([magnitude[:, :-1], between], axis=2)  # (B, T - 1, 2, F)
    T, F = magnitude.shape[1:]
    return tf.concat([tf.reshape(pairs, (-1, 2 * T - 2, F)), magnitude[:, -1:]], axis=1)  # (B, 2 T - 1, F)


def _iterate(stft: Stft, magnitude: Any, spectra: Any, n_iter: int, momentum: float, limit: Any) -> Any:
    """Run Griffin-Lim iterations on spectra (B, T, F), of signals that stay within a limit (B, 1)."""
    from wavemill.keras_seam import tf

    def step(i: Any, spectra: Any, previous: Any) -> Any:
        rebuilt = _analyze(stft, _limited(_synthesize(stft, spectra), limit))
        pushed = rebuilt - momentum / (1 + momentum) * previous
        return i + 1, _with_magnitude(magnitude, pushed), rebuilt

    state = (tf.constant(0), spectra, tf.zeros_like(spectra))
    return tf.while_loop(lambda i, *_: i < n_iter, step, state)[1]


def _settle(stft: Stft, magnitude: Any, spectra: Any, n_plain: int, limit: Any) -> Any:
    """Run plain iterations, and fast ones for the rough clips; `reconstruction` does the same."""
    from wavemill.keras_seam import tf

    rebuilt = _analyze(stft, _synthesize(stft, spectra))
    rest = tf.where(magnitude > 0, tf.abs(rebuilt) - magnitude, 0)
    error, energy = (tf.reduce_sum(values**2, [1, 2], keepdims=True) for values in (rest, magnitude))
    n_iter = tf.fill(tf.shape(error), n_plain)  # (B, 1, 1)
    for level, n_fast in ROUGH_AND_SHORT if stft.n_rows * stft.n_frames <= SHORT else ROUGH:
        n_iter = tf.where(error > level**2 * energy, n_fast, n_iter)
    is_rough = n_iter > n_plain
    push = tf.where(is_rough, ROUGH_MOMENTUM / (1 + ROUGH_MOMENTUM), 0.0)
    spectra = _with_magnitude(magnitude, rebuilt)
    limit = tf.where(is_rough[:, 0] & tf.math.is_inf(limit), _estimated_limit(_synthesize(stft, spectra)), limit)

    def step(i: Any, spectra: Any, previous: Any) -> Any:
        rebuilt = _analyze(stft, _limited(_synthesize(stft, spectra), limit))
        pushed = rebuilt - tf.cast(push, tf.complex64) * previous
        return i + 1, tf.where(i < n_iter, _with_magnitude(magnitude, pushed), spectra), rebuilt

    state = (tf.constant(1), spectra, tf.zeros_like(spectra))
    return tf.while_loop(lambda i, *_: i < tf.reduce_max(n_iter), step, state)[1]


def _estimated_limit(signals: Any) -> Any:
    """(B, L) -> (B, 1); see `PEAK_MARGIN`."""
    from wavemill.keras_seam import tf

    n_above = int(PEAK_SHARE * signals.shape[1])
    return PEAK_MARGIN * tf.math.top_k(tf.abs(signals), n_above + 1).values[:, -1:]


def _limited(signals: Any, limit: Any) -> Any:
    """(B, L), (B, 1) -> (B, L)."""
    from wavemill.keras_seam import tf

    return tf.clip_by_value(signals, -limit, limit)


def _with_magnitude(magnitude: Any, spectra: Any) -> Any:
    from wavemill.keras_seam import tf

    energy = tf.math.real(spectra) ** 2 + tf.math.imag(spectra) ** 2
    scale = magnitude * tf.math.rsqrt(energy + 1e-30)
    return tf.complex(scale * tf.math.real(spectra), scale * tf.math.imag(spectra))


def _synthesize(stft: Stft, spectra: Any) -> Any:
    """(B, T, F) -> (B, L)."""
    from wavemill.keras_seam import tf

    frames = tf.signal.irfft(spectra, [stft.n_fft]) * hann(stft.n_fft).astype(np.float32)
    whole = tf.signal.overlap_and_add(frames, stft.hop_length)
    weight = np.empty(stft.n_samples, np.float32)
    unfold(stft, stft.weight, np.float32(stft.n_fft / 2), weight)
    return whole[:, stft.n_fft // 2 :][:, : stft.n_samples] * weight


def _analyze(stft: Stft, signals: Any) -> Any:
    """(B, L) -> (B, T, F)."""
    from wavemill.keras_seam import tf

    before = stft.n_fft // 2
    after = (stft.n_frames - 1) * stft.hop_length + stft.n_fft - before - stft.n_samples
    padded = tf.pad(signals, [[0, 0], [before, after]])
    return tf.signal.rfft(tf.signal.frame(padded, stft.n_fft, stft.hop_length) * hann(stft.n_fft).astype(np.float32))
