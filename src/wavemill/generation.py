"""`SoundGenerator`, the public API without a queue: a model's operations, as sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wavemill.arrays import FloatArray
from wavemill.labels import Labels
from wavemill.operations.requests import PATHS, VaryParams, interpolation_weights
from wavemill.presets import samples_of
from wavemill.synthesis import from_model
from wavemill.synthesis.from_model import DEFAULT_PEAK_DB, SourceClip, Synthesis
from wavemill.synthesis.sound import DEFAULT_METHOD, Spectrograms, require_bins, require_shape, spectrograms_to_audio
from wavemill.synthesis.spectrogram_model import SpectrogramModel


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a model made.

    Attributes
    ----------
    audio : list of float32 [shape=(samples,), full scale is 1.0]
        One waveform for each result; its operation sets its length and level.
    latents : float32 [shape=(batch, latent_dim)]
        A clip that is longer than a frame has a row for each of its windows.
    labels : list of mappings
        The labels that `sample` drew; empty for other operations.
    """

    audio: list[FloatArray]
    latents: FloatArray
    labels: list[Labels]


class SoundGenerator:
    """Runs every operation of one model, and the inversion, without a queue.

    Parameters
    ----------
    model : SpectrogramModel
        What `wavemill.vae.package.load_model` returns, or a `wavemill.testing.sine_model.SineModel`.
    method : str
        One of `wavemill.inversion.METHODS`.
    n_threads : int > 0
        Number of clips inverted at the same time.

    Examples
    --------
    >>> generator = SoundGenerator(load_model("fsdd-vae"))
    >>> generator.reconstruct(spectrograms_db).audio[0].shape
    (8128,)
    >>> sevens = generator.sample([1, 2, 3], labels={"digit": "7"}).audio
    """

    def __init__(self, model: SpectrogramModel, *, method: str = DEFAULT_METHOD, n_threads: int = 1) -> None:
        self.model = model
        self._method = method
        self._n_threads = n_threads

    def reconstruct(
        self,
        spectrograms: Spectrograms,
        *,
        durations_s: Sequence[float] | None = None,
        peaks: Sequence[float | None] | None = None,
        seeds: Sequence[int] | None = None,
        labels: Sequence[Labels] | None = None,
        refine: int | None = None,
    ) -> Generated:
        """Encode, decode and invert.

        Parameters
        ----------
        spectrograms : float32 [shape=(n_bins, frames), in dB] each, of any length
        durations_s : sequence of float, optional
            Length of each source; None: the full length.
        peaks : sequence of float or None, optional
            Highest absolute sample of each source, as a dataset's entries have it; None where it is not known.
        seeds : sequence of int, optional
            Draw each latent from its posterior with this seed, instead of taking the mean.
        labels : sequence of mappings, optional
            What a conditioned model's decoder is told; None: what its encoder predicts.
        refine : int from 0 to 100, optional
            Steps that bring each reconstruction closer to its source; None: the model's own number, or 0 with seeds.

        Raises
        ------
        PresetMismatchError
            The spectrograms do not have the model's number of bins.
        """
        sources = self._sources(spectrograms, durations_s, labels)
        return self._generated(from_model.reconstruct(self.model, sources, seeds=seeds, refine=refine), peaks=peaks)

    def sample(
        self, seeds: Sequence[int], *, labels: Labels | None = None, temperature: float | None = None
    ) -> Generated:
        """Draw new sounds, one for each seed; see `wavemill.synthesis.from_model.sample`."""
        return self._generated(from_model.sample(self.model, seeds, labels=labels, temperature=temperature))

    def vary(
        self,
        spectrograms: Spectrograms,
        *,
        seeds: Sequence[int],
        temperature: float = VaryParams.temperature,
        durations_s: Sequence[float] | None = None,
        labels: Sequence[Labels] | None = None,
        refine: int | None = None,
    ) -> Generated:
        """Draw a neighbour of each spectrogram (n_bins, frames); see `wavemill.synthesis.from_model.vary`."""
        sources = self._sources(spectrograms, durations_s, labels)
        made = from_model.vary(self.model, sources, seeds=seeds, temperature=temperature, refine=refine)
        return self._generated(made)

    def interpolate(
        self,
        start: FloatArray,
        end: FloatArray,
        *,
        steps: int,
        path: str = PATHS[0],
        durations_s: tuple[float, float] | None = None,
        labels: tuple[Labels, Labels] | None = None,
        refine: int | None = None,
    ) -> Generated:
        """Morph one spectrogram (n_bins, n_frames) into another: `steps` sounds with both ends."""
        first, last = self._sources([start, end], durations_s, labels)
        weights = interpolation_weights(steps)
        pairs = [(first, last)] * steps
        return self._generated(from_model.interpolate(self.model, pairs, weights, path=path, refine=refine))

    def encode(
        self, spectrograms: FloatArray, *, seeds: Sequence[int] | None = None, refine: int | None = None
    ) -> FloatArray:
        """Return the latents (batch, latent_dim) of spectrograms (batch, n_bins, n_frames) in dB."""
        require_shape(spectrograms, self.model.features)
        return self.model.encode(spectrograms, seeds=seeds, refine=refine)

    def decode(
        self, latents: FloatArray, *, peak_db: ArrayLike = DEFAULT_PEAK_DB, durations_s: Sequence[float] | None = None
    ) -> list[FloatArray]:
        """Turn latents (batch, latent_dim) into sound.

        `peak_db` is the level of the loudest bin: one number for all latents, or one for each.
        """
        peaks = np.broadcast_to(np.asarray(peak_db, np.float32), len(latents))
        return self.to_audio(self.model.decode(latents, peak_db=peaks), durations_s=durations_s)

    def to_audio(
        self,
        spectrograms: Spectrograms,
        *,
        durations_s: Sequence[float] | None = None,
        peaks: Sequence[float | None] | None = None,
        are_samples: Sequence[bool] | None = None,
    ) -> list[FloatArray]:
        """Invert spectrograms of the model's features; see `spectrograms_to_audio`."""
        return spectrograms_to_audio(
            spectrograms,
            self.model.features,
            durations_s=durations_s,
            peaks=peaks,
            are_samples=are_samples,
            method=self._method,
            n_threads=self._n_threads,
        )

    def _sources(
        self, spectrograms: Spectrograms, durations_s: Sequence[float] | None, labels: Sequence[Labels] | None
    ) -> list[SourceClip]:
        features = self.model.features
        require_bins(spectrograms, features)
        durations = durations_s or [samples_of(features, s.shape[1]) / features.sample_rate_hz for s in spectrograms]
        told = labels or [{}] * len(spectrograms)
        return [
            SourceClip(spectrogram=s, duration_s=d, labels=own)
            for s, d, own in zip(spectrograms, durations, told, strict=True)
        ]

    def _generated(self, made: Synthesis, *, peaks: Sequence[float | None] | None = None) -> Generated:
        return Generated(
            audio=self.to_audio(
                made.spectrograms,
                durations_s=made.durations_s,
                peaks=peaks,
                are_samples=[clip.is_sample for clip in made.latents],
            ),
            latents=np.concatenate([clip.rows for clip in made.latents]),
            labels=made.labels,
        )
