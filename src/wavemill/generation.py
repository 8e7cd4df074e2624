"""Spectrograms in, sound out: the operations of a model and the inversion, with no queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wavemill.audio.features import to_magnitude
from wavemill.errors import PresetMismatchError
from wavemill.inversion import invert
from wavemill.presets import Features
from wavemill.vae.model import Model

FloatArray = npt.NDArray[np.float32]
DEFAULT_METHOD = "pghi+gl"


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What a model made of some spectrograms.

    Attributes
    ----------
    audio : list of float32 [shape=(samples,)]
        One waveform each, as long as its source; the level is the source's.
    latents : float32 [shape=(batch, latent_dim)]
    """

    audio: list[FloatArray]
    latents: FloatArray


class SoundGenerator:
    """A model and an inversion method.

    Examples
    --------
    >>> generator = SoundGenerator(load_model("fsdd-vae"))
    >>> generator.reconstruct(spectrograms_db).audio[0].shape
    (8128,)
    """

    def __init__(self, model: Model, *, method: str = DEFAULT_METHOD, n_threads: int = 1) -> None:
        self.model = model
        self._method = method
        self._n_threads = n_threads

    def reconstruct(
        self,
        spectrograms: FloatArray,
        *,
        durations_s: Sequence[float] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Reconstruction:
        """Encode, decode and invert.

        Parameters
        ----------
        spectrograms : float32 [shape=(batch, n_bins, n_frames), in dB]
        durations_s : sequence of float, optional
            Length of each source; its whole frame when None.
        seeds : sequence of int, optional
            Draw each latent from its posterior with this seed, instead of taking the mean.

        Raises
        ------
        PresetMismatchError
            The spectrograms are not of the shape that the model was trained on.
        """
        require_shape(spectrograms, self.model.features)
        decoded, latents = self.model.reconstruct(spectrograms, seeds=seeds)
        return Reconstruction(audio=self.to_audio(decoded, durations_s=durations_s), latents=latents)

    def to_audio(self, spectrograms: FloatArray, *, durations_s: Sequence[float] | None = None) -> list[FloatArray]:
        """Invert spectrograms of the model's features; see `spectrograms_to_audio`."""
        return spectrograms_to_audio(
            spectrograms,
            self.model.features,
            durations_s=durations_s,
            method=self._method,
            n_threads=self._n_threads,
        )


def spectrograms_to_audio(
    spectrograms: FloatArray,
    features: Features,
    *,
    durations_s: Sequence[float] | None = None,
    method: str = DEFAULT_METHOD,
    n_threads: int = 1,
) -> list[FloatArray]:
    """Turn spectrograms back into sound.

    Parameters
    ----------
    spectrograms : float32 [shape=(batch, n_bins, n_frames), in dB]
    durations_s : sequence of float, optional
        Length of each source; the rest of the frame is padding and is cut off. The whole frame when None.
    method : str
        One of `wavemill.inversion.METHODS`.

    Returns
    -------
    list of float32 [shape=(samples,), full scale is 1.0]
    """
    require_shape(spectrograms, features)
    waveforms = invert(
        to_magnitude(spectrograms, features),  # (B, n_bins, T) dB -> (B, n_fft // 2 + 1, T) amplitude
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        method=method,
        length=features.n_samples,
        n_threads=n_threads,
    )  # (B, n_samples)
    if durations_s is None:
        return list(waveforms)
    n_samples = [min(round(s * features.sample_rate_hz), features.n_samples) for s in durations_s]
    return [waveform[:n] for waveform, n in zip(waveforms, n_samples, strict=True)]


def require_shape(spectrograms: FloatArray, features: Features) -> None:
    """Raise PresetMismatchError unless `spectrograms` is (batch, n_bins, n_frames) of these features."""
    if spectrograms.ndim != 3 or spectrograms.shape[1:] != features.shape:
        raise PresetMismatchError(
            f"expected spectrograms of shape (batch, {features.n_bins}, {features.n_frames}) as preset "
            f"{features.preset!r} makes them, received {spectrograms.shape}"
        )
