"""Turns spectrograms into sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.encoding import within_peak
from wavemill.audio.features import to_magnitude
from wavemill.errors import PresetMismatchError
from wavemill.inversion import invert
from wavemill.inversion.gpu import invert_on_gpu
from wavemill.operations.requests import METHODS
from wavemill.presets import Features, samples_of

DEFAULT_METHOD = METHODS[0]
_METHOD_OF_SAMPLES = {"pghi+gl": "pghi"}
Spectrograms = Sequence[FloatArray] | FloatArray  # several of (n_bins, frames), of one length or of several


def spectrograms_to_audio(
    spectrograms: Spectrograms,
    features: Features,
    *,
    durations_s: Sequence[float] | None = None,
    peaks: Sequence[float | None] | None = None,
    are_samples: Sequence[bool] | None = None,
    method: str = DEFAULT_METHOD,
    n_threads: int = 1,
    gpu: str | None = None,
) -> list[FloatArray]:
    """Turn spectrograms back into sound.

    Parameters
    ----------
    spectrograms : float32 [shape=(n_bins, frames), in dB] each, of any length
    durations_s : sequence of float, optional
        Length of each source; the padding after it is cut off. None: the full length.
    peaks : sequence of float or None, optional
        Highest absolute sample of each source; None where it is not known. See `within_peak` for sounds that
        exceed it.
    are_samples : sequence of bool, optional
        Which spectrograms were drawn, so that they have no source. For them "pghi+gl" does without its iterations,
        which make samples of digits harder to recognise. None: none of them.
    method : str
        One of `wavemill.inversion.METHODS`.
    gpu : str, optional
        TensorFlow's name of a GPU to invert on, see `wavemill.inversion.gpu`; the CPU when None.

    Returns
    -------
    list of float32 [shape=(samples,), full scale is 1.0]
    """
    require_bins(spectrograms, features)
    chosen = invert if gpu is None else partial(invert_on_gpu, device=gpu)
    limits = np.array([peak or np.inf for peak in peaks or [None] * len(spectrograms)])
    waveforms: dict[int, FloatArray] = {}
    drawn = are_samples or [False] * len(spectrograms)
    for alike in _alike(spectrograms, drawn):
        found = chosen(
            to_magnitude(_stacked(spectrograms, alike), features),  # (B, n_bins, T) dB -> amplitude
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            method=_METHOD_OF_SAMPLES.get(method, method) if drawn[alike[0]] else method,
            peaks=limits[alike],
            length=samples_of(features, spectrograms[alike[0]].shape[1]),
            n_threads=n_threads,
        )  # (B, samples)
        waveforms |= zip(alike, found, strict=True)
    ordered = [within_peak(waveforms[i], float(limits[i])) for i in range(len(spectrograms))]
    if durations_s is None:
        return ordered
    n_samples = [round(s * features.sample_rate_hz) for s in durations_s]
    return [waveform[:n] for waveform, n in zip(ordered, n_samples, strict=True)]


def require_bins(spectrograms: Spectrograms, features: Features) -> None:
    """Raise PresetMismatchError unless each spectrogram is (n_bins, frames) of these features."""
    for one in spectrograms:
        if one.ndim != 2 or one.shape[0] != features.n_bins or not one.shape[1]:
            raise PresetMismatchError(
                f"expected spectrograms of shape ({features.n_bins}, frames), received {one.shape}"
            )


def _alike(spectrograms: Spectrograms, drawn: Sequence[bool]) -> Iterable[list[int]]:
    """Return the numbers of the spectrograms, in groups of one shape, all samples or none."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for number, (spectrogram, is_sample) in enumerate(zip(spectrograms, drawn, strict=True)):
        groups.setdefault((spectrogram.shape[1], is_sample), []).append(number)
    return groups.values()


def _stacked(spectrograms: Spectrograms, numbers: list[int]) -> FloatArray:
    if isinstance(spectrograms, np.ndarray) and len(numbers) == len(spectrograms):
        return spectrograms
    return np.stack([spectrograms[i] for i in numbers])


def require_shape(spectrograms: FloatArray, features: Features) -> None:
    """Raise PresetMismatchError unless `spectrograms` is (batch, n_bins, n_frames) of these features."""
    if spectrograms.ndim != 3 or spectrograms.shape[1:] != features.shape:
        raise PresetMismatchError(
            f"expected spectrograms of shape (batch, {features.n_bins}, {features.n_frames}), "
            f"received {spectrograms.shape}"
        )
