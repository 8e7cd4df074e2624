"""`invert`, the function that applies a method to a batch of clips."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.inversion.arguments import (
    check_counts,
    check_geometry,
    check_magnitude,
    check_method,
    check_n_iter,
    check_peaks,
)
from wavemill.inversion.clip import read_clip
from wavemill.inversion.methods import KNOWN, METHODS, Method
from wavemill.inversion.reconstruction import reconstruct
from wavemill.inversion.stft import stft_for
from wavemill.inversion.transforms import transforms_named


def invert(
    magnitude: FloatArray,
    *,
    n_fft: int,
    hop_length: int,
    method: str = "pghi+gl",
    length: int | None = None,
    peaks: npt.ArrayLike | None = None,
    n_iter: int | None = None,
    n_threads: int = 1,
    transforms: str | None = None,
) -> FloatArray:
    """Estimate the waveforms whose STFT magnitudes are `magnitude`.

    A clip's bytes depend only on its own magnitudes and the parameters, not on the other clips of
    the batch, its place among them, or the number of threads.
    `wavemill.inversion.gpu.invert_on_gpu` does the same on a GPU.

    The highest rows are ignored if none of their bins is more than 1 dB above the clip's lowest
    level: they are the floor of a range-limited spectrogram, not sound.

    Parameters
    ----------
    magnitude : float32 [shape=(batch, n_fft // 2 + 1, frames), finite, >= 0]
        Linear amplitude, not dB, of the centred, zero-padded STFT with a periodic Hann window: what
        `abs(librosa.stft(y, n_fft=n_fft, hop_length=hop_length))` gives.
    n_fft : even int >= 4, in samples
    hop_length : int >= 1, <= n_fft // 2, in samples
    method : str
        One of `METHODS`:

        - "pghi+gl": phase gradient heap integration, then 4 plain Griffin-Lim iterations; 8 to 16
          fast ones for a clip with attacks or noise, whose integrated phases do not fit each other.
        - "pghi": the integration alone.
        - "fine": integration and 4 iterations on twice the frames, then 4 on the given frames.
          Closest to the recording where frames overlap by half, at twice the cost; at four times
          the cost for an odd `hop_length`, because it then works at twice the sample rate.
        - "griffin-lim": fast Griffin-Lim, 32 iterations with momentum 0.99, from a fixed scattered start.
        - "centre-phase": every frame is a pulse at its centre; costs one inverse transform.
        - "zero-phase": every frame is a pulse at its start; poor, kept for comparison.
    length : int >= 0, in samples, or None
        Length of the waveforms; None means `(frames - 1) * hop_length`. The frames can cover up to
        `hop_length - 1` samples more; zeros follow after that.
    peaks : float [shape=(batch,), > 0], or None
        Highest absolute sample of each source; infinite or NaN where it is not known. Methods that
        iterate limit the waveform to it before each iteration, and end within a few percent of it.
    n_iter : int >= 0, or None
        Number of iterations; None means the method's usual number. With a number, "pghi+gl" runs as
        many plain iterations for every clip.
    n_threads : int >= 1
        Number of threads that the clips are distributed over.
    transforms : "simd", "scipy" or None
        What computes Fourier transforms and iterations: compiled kernels, or SciPy, which is many
        times slower and gives the same waveforms except for rounding. None means the kernels, or
        SciPy where the installed numba cannot compile them.

    Returns
    -------
    float32 [shape=(batch, length)]
        Not limited to [-1, 1]. Without `peaks`, the highest peak can exceed the recording's.

    Raises
    ------
    UsageError
        If a parameter, or the shape or a value of `magnitude`, is not as described above. For a
        value, the message names the clip.

    References
    ----------
    .. [1] Prusa, Balazs, Sondergaard, "A noniterative method for reconstruction of phase from STFT
       magnitude", 2017.
    .. [2] Perraudin, Balazs, Sondergaard, "A fast Griffin-Lim algorithm", 2013.
    """
    chosen = choose(method, n_iter, n_fft=n_fft, hop_length=hop_length)
    check_counts(length=length, n_threads=n_threads)
    functions = transforms_named(transforms)
    clips = check_magnitude(magnitude, n_fft=n_fft)
    limits = check_peaks(peaks, len(clips))
    stft = stft_for(n_fft, hop_length, clips.shape[2], length)
    waveforms = np.zeros((len(clips), stft.n_samples if length is None else length), np.float32)

    def write(index: int) -> None:
        clip = read_clip(clips, index, stft=stft, hop_unit=2 if chosen.is_fine else 1, limit=float(limits[index]))
        if clip is not None:  # silence stays zero
            reconstruct(clip, chosen, n_iter, functions, waveforms[index, : stft.n_samples])

    each(write, n_items=len(clips), n_threads=n_threads)
    return waveforms


def choose(method: str, n_iter: int | None, *, n_fft: int, hop_length: int) -> Method:
    """Return a method; UsageError if the arguments do not match."""
    check_method(method, METHODS)
    chosen = KNOWN[method]
    check_n_iter(method, chosen.n_iter, n_iter)
    check_geometry(n_fft=n_fft, hop_length=hop_length)
    return chosen


def each(work: Callable[[int], None], *, n_items: int, n_threads: int) -> None:
    """Call `work` with each index below `n_items`, on up to `n_threads` threads."""
    n_threads = min(n_threads, n_items)
    if n_threads <= 1:
        for index in range(n_items):
            work(index)
        return
    with ThreadPoolExecutor(n_threads, "invert") as pool:
        for _ in pool.map(work, range(n_items)):
            pass
