"""Windows of one frame over spectrograms of any length, for models of one frame, and their cross-fade.

A clip that is shorter than a frame is padded with its own floor. The windows of a longer clip begin
at equal distances of at most half a frame, so that the ends of a window, where a model knows the
least of what lies around, count least. With fsdd-vae on joined words, the mean error of the top
50 dB is 3.7, 3.1 and 2.8 dB with steps of three quarters, half and a third of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np

from wavemill.arrays import FloatArray

T = TypeVar("T")

_STEP = 0.5  # of a frame, at most, from one window to the next


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows over a clip of `n_frames`, each `size` frames long."""

    n_frames: int
    size: int

    @property
    def starts(self) -> list[int]:
        """The first frame of each window."""
        beyond = self.n_frames - self.size
        if beyond <= 0:
            return [0]
        count = 1 + ceil(beyond / max(1, int(_STEP * self.size)))
        return [round(number * beyond / (count - 1)) for number in range(count)]

    def reaching(self, first: int, last: int) -> list[int]:
        """Return the starts of the windows that hold frames from `first` to before `last`."""
        return [start for start in self.starts if start < last and start + self.size > first]

    def cut(self, spectrogram: FloatArray) -> list[FloatArray]:
        """Cut a spectrogram (F, n_frames) into windows (F, size) each."""
        return [self.cut_one(spectrogram, start) for start in self.starts]

    def cut_one(self, spectrogram: FloatArray, start: int) -> FloatArray:
        """Return the window (F, size) that begins at `start`; what lies after the spectrogram's end is its floor."""
        window = spectrogram[:, start : start + self.size]
        missing = self.size - window.shape[1]
        if missing > 0:
            return np.pad(window, ((0, 0), (0, missing)), constant_values=spectrogram.min())
        return window

    def join(self, windows: Sequence[FloatArray], *, first: int = 0, last: int | None = None) -> FloatArray:
        """Cross-fade windows; return the frames from `first` to before `last`, float32 [shape=(F, last - first)].

        Parameters
        ----------
        windows : float32 [shape=(F, size)] each, in dB
            Those that `reaching(first, last)` names.
        """
        last = self.n_frames if last is None else last
        if len(windows) == 1:
            return windows[0][:, first:last]
        n_bins = windows[0].shape[0]
        total, weight = np.zeros((n_bins, last - first), np.float32), np.zeros(last - first, np.float32)
        for start, window in zip(self.reaching(first, last), windows, strict=True):
            begin, end = max(start, first), min(start + self.size, last)
            fade = self._fade[begin - start : end - start]
            total[:, begin - first : end - first] += fade * window[:, begin - start : end - start]
            weight[begin - first : end - first] += fade
        return total / weight

    @property
    def _fade(self) -> FloatArray:
        """A weight that rises to the middle of a window, and falls again."""
        ramp = np.arange(self.size, dtype=np.float32) + np.float32(0.5)
        return np.asarray(np.minimum(ramp, ramp[::-1]), np.float32)


def grouped(items: Sequence[T], sizes: Sequence[int]) -> Iterator[Sequence[T]]:
    """Yield consecutive groups of `items`, each as long as `sizes` says."""
    start = 0
    for size in sizes:
        yield items[start : start + size]
        start += size
