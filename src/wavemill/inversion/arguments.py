"""Check the arguments of `invert`; each error says what was expected and what was received."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError


def check_method(method: str, methods: Sequence[str]) -> None:
    """Raise UsageError for an unknown method."""
    if method not in methods:
        raise UsageError(f"there is no inversion method {method!r}; choose one of: {', '.join(methods)}")


def check_n_iter(method: str, usual: int | None, n_iter: int | None) -> None:
    """Raise UsageError for a negative `n_iter`, or any `n_iter` if the method does not iterate."""
    if n_iter is None:
        return
    if usual is None:
        raise UsageError(f"the method {method!r} has no iterations, received n_iter={n_iter}; leave it out")
    if n_iter < 0:
        raise UsageError(f"expected n_iter >= 0, received {n_iter}")


def check_geometry(*, n_fft: int, hop_length: int) -> None:
    """Raise UsageError if frames overlap by less than half."""
    if n_fft < 4 or n_fft % 2:
        raise UsageError(f"expected an even n_fft of 4 samples or more, received {n_fft}")
    if not 1 <= hop_length <= n_fft // 2:
        raise UsageError(
            f"expected a hop_length from 1 to n_fft / 2 = {n_fft // 2} samples, received {hop_length}; "
            "phases cannot be recovered from frames that overlap by less than half"
        )


def check_counts(*, length: int | None, n_threads: int) -> None:
    """Raise UsageError for impossible lengths and numbers of threads."""
    if length is not None and length < 0:
        raise UsageError(f"expected a length of 0 samples or more, received {length}")
    if n_threads < 1:
        raise UsageError(f"expected n_threads >= 1, received {n_threads}")


def check_magnitude(magnitude: npt.ArrayLike, *, n_fft: int) -> FloatArray:
    """Return the magnitudes as float32 (batch, F, T); UsageError for a wrong shape or type."""
    clips = np.asarray(magnitude)
    if clips.ndim != 3 or clips.shape[1] != n_fft // 2 + 1 or clips.shape[2] < 1:
        raise UsageError(
            f"expected magnitudes of shape (batch, {n_fft // 2 + 1}, frames) for n_fft {n_fft}, received {clips.shape}"
        )
    if clips.dtype.kind not in "fiu":
        raise UsageError(f"expected real magnitudes, received {clips.dtype}; take the absolute value first")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite; `checked_values` refuses
        return clips.astype(np.float32, copy=False)


def check_peaks(peaks: npt.ArrayLike | None, n_clips: int) -> FloatArray:
    """Return the highest sample of each source (batch,), infinite where unknown; UsageError for others."""
    if peaks is None:
        return np.full(n_clips, np.inf, np.float32)
    limits = np.asarray(peaks, np.float32)
    if limits.shape != (n_clips,):
        raise UsageError(f"expected peaks of shape ({n_clips},), one for each clip, received {limits.shape}")
    if (limits <= 0).any():
        raise UsageError(f"expected peaks > 0, or NaN where one is not known, received {limits.min()}")
    return np.where(np.isnan(limits), np.float32(np.inf), limits)


def checked_values(clip: FloatArray, index: int) -> FloatArray:
    """Return a clip (F, T) with each -0.0 replaced by 0.0; UsageError for values out of range."""
    if not (clip.min() >= 0 and clip.max() < np.inf):  # both comparisons are false for NaN
        raise UsageError(f"clip {index}: {_describe(clip)}; magnitudes must be finite, >= 0, and linear, not dB")
    return clip + np.float32(0)


def _describe(clip: FloatArray) -> str:
    counts = {
        "NaN": int(np.isnan(clip).sum()),
        "infinite": int(np.isinf(clip).sum()),
        "negative": int((clip < 0).sum()),
    }
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{found} of {clip.size} values"
