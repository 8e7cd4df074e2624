"""`SpectrogramModel`: the methods that the operations need from a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wavemill.arrays import FloatArray
from wavemill.labels import Labels
from wavemill.presets import Features
from wavemill.vae.latents.prior import SampledLatents


class SpectrogramModel(Protocol):
    """A model of spectrograms in dB: `wavemill.vae.model.Model`, or a fake of it in tests.

    The methods are described at `Model`.
    """

    @property
    def features(self) -> Features:
        """The feature parameters of the spectrograms."""

    @property
    def latent_dim(self) -> int:
        """Numbers per latent vector."""

    @property
    def told_dim(self) -> int:
        """The last numbers of a latent vector, those of the labels that the decoder is told; 0 without."""

    def encode(
        self,
        db: FloatArray,
        *,
        seeds: Sequence[int] | None = None,
        labels: Sequence[Labels] | None = None,
        refine: int | None = None,
    ) -> FloatArray:
        """Encode spectrograms (batch, n_bins, n_frames) to latents (batch, latent_dim)."""

    def decode(self, latents: FloatArray, *, peak_db: FloatArray, floor_db: FloatArray | None = None) -> FloatArray:
        """Decode latents (batch, latent_dim) to spectrograms (batch, n_bins, n_frames)."""

    def sample_latents(
        self, seeds: Sequence[int], *, labels: Labels | None = None, temperature: float | None = None
    ) -> SampledLatents:
        """Draw new latents, one for each seed."""

    def vary_latents(self, latents: FloatArray, *, seeds: Sequence[int], strength: float) -> FloatArray:
        """Move each latent in a random direction."""
