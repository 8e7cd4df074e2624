"""`ClipLatents`: all that a model's decoder makes a clip from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wavemill.arrays import FloatArray
from wavemill.audio.windows import Windows
from wavemill.synthesis.levels import Levels


@dataclass(frozen=True, kw_only=True)
class ClipLatents:
    """The latents of a clip of any length, with the levels and length of its sound.

    Attributes
    ----------
    rows : float32 [shape=(windows, latent_dim)]
        One for each window over the clip, see `wavemill.audio.windows`.
    levels : of each window
    n_frames : int > 0
        Length of the spectrogram.
    duration_s : float > 0
        Length of the sound.
    peak : highest absolute sample of the recording that the sound should resemble, if it is known
    is_sample : whether it was drawn; a sample is faded out if it still sounds at the end of `duration_s`
    """

    rows: FloatArray
    levels: Sequence[Levels]
    n_frames: int
    duration_s: float
    peak: float | None = None
    is_sample: bool = False

    @property
    def array(self) -> FloatArray:
        """The latent (latent_dim,) of a clip of one window, or `rows`."""
        return self.rows[0] if len(self.rows) == 1 else self.rows

    def windows(self, size: int) -> Windows:
        """Return the windows of `size` frames that the rows belong to."""
        return Windows(n_frames=self.n_frames, size=size)
