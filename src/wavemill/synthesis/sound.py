"""Turns spectrograms into sound."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from wavemill.arrays import FloatArray
from wavemill.audio.features import to_magnitude
from wavemill.errors import PresetMismatchError
from wavemill.inversion import invert
from wavemill.inversion.gpu import invert_on_gpu
from wavemill.operations.requests import METHODS
from wavemill.presets import Features

DEFAULT_METHOD = METHODS[0]


def spectrograms_to_audio(
    spectrograms: FloatArray,
    features: Features,
    *,
    durations_s: Sequence[float] | None = None,
    method: str = DEFAULT_METHOD,
    n_threads: int = 1,
    gpu: str | None = None,
) -> list[FloatArray]:
    """Turn spectrograms back into sound.

    Parameters
    ----------
    spectrograms : float32 [shape=(batch, n_bins, n_frames), in dB]
    durations_s : sequence of float, optional
        Length of each source; the padding after it is cut off. None: the full length.
    method : str
        One of `wavemill.inversion.METHODS`.
    gpu : str, optional
        TensorFlow's name of a GPU to invert on, see `wavemill.inversion.gpu`; the CPU when None.

    Returns
    -------
    list of float32 [shape=(samples,), full scale is 1.0]
    """
    require_shape(spectrograms, features)
    chosen = invert if gpu is None else partial(invert_on_gpu, device=gpu)
    waveforms = chosen(
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
            f"expected spectrograms of shape (batch, {features.n_bins}, {features.n_frames}), "
            f"received {spectrograms.shape}"
        )
