"""Runs every operation of a model: spectrograms and latents in, spectrograms out. Makes no sound.

Axis letters: B batch, F frequency bins, T frames, D latent dimensions.

Levels: a reconstruction or variation gets the energy and floor of its source. An interpolation goes
evenly from the levels (in dB) and length (in seconds) of one clip to those of the other. A sample's
peak is drawn with its latents. Latents that come without levels peak at `DEFAULT_PEAK_DB`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.duration import QUIET_DB
from wavemill.audio.windows import Windows, grouped
from wavemill.errors import SpectrogramError
from wavemill.labels import Labels
from wavemill.operations.requests import PATHS
from wavemill.synthesis.levels import Levels, restore_energy
from wavemill.synthesis.spectrogram_model import SpectrogramModel

FADE_FRAMES = 8
FADE_DB = 60.0
DEFAULT_PEAK_DB = 20.0  # as a speech clip that peaks at half of full scale, with a window of 256


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What a model made.

    Attributes
    ----------
    spectrograms : list of float32 [shape=(F, T), in dB], T differs with the sources' lengths
    latents : list of float32 [shape=(D,)], or [shape=(windows, D)] for a source longer than a frame
    durations_s : list of float
    boosts_db : list of float
        Gain of the loudest bins, see `wavemill.synthesis.levels`; empty if no level was restored.
    labels : list of mappings
        The labels of each result, if the operation draws labels; empty otherwise.
    """

    spectrograms: list[FloatArray]
    latents: list[FloatArray]
    durations_s: list[float]
    boosts_db: list[float] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SourceClip:
    """A clip of any length that an operation starts from: float32 [shape=(F, T), in dB], and what is known of it."""

    spectrogram: FloatArray
    duration_s: float
    labels: Labels = field(default_factory=dict)  # what a conditioned model is told
    peak: float | None = None  # highest absolute sample of the recording, if it is known


def reconstruct(
    model: SpectrogramModel, sources: Sequence[SourceClip], *, seeds: Sequence[int] | None = None
) -> Synthesis:
    """Encode and decode; with `seeds`, draw each latent from its posterior instead of taking the mean."""

    def encode_windows(windows: FloatArray, owners: Sequence[int]) -> FloatArray:
        own_seeds = None if seeds is None else [seeds[owner] for owner in owners]
        return model.encode(windows, seeds=own_seeds, labels=[sources[owner].labels for owner in owners])

    return _in_windows(model, sources, encode_windows)


def vary(
    model: SpectrogramModel, sources: Sequence[SourceClip], *, seeds: Sequence[int], temperature: float
) -> Synthesis:
    """Return a neighbour of each source; see `Model.vary_latents` for how far a temperature goes."""

    def vary_windows(windows: FloatArray, owners: Sequence[int]) -> FloatArray:
        own_seeds = [seeds[owner] for owner in owners]
        latents = model.encode(windows, labels=[sources[owner].labels for owner in owners])
        return model.vary_latents(latents, seeds=own_seeds, strength=temperature)

    return _in_windows(model, sources, vary_windows)


def encode(
    model: SpectrogramModel, sources: Sequence[SourceClip], *, seeds: Sequence[int] | None = None
) -> list[FloatArray]:
    """Return the latents (D,) of each source; SpectrogramError for one that is longer than a frame."""
    return list(model.encode(_frames(model, sources), seeds=seeds, labels=[source.labels for source in sources]))


def interpolate(
    model: SpectrogramModel,
    pairs: Sequence[tuple[SourceClip, SourceClip]],
    weights: Sequence[float],
    *,
    path: str = PATHS[0],
) -> Synthesis:
    """Return one point between the clips of each pair: weight 0 is the first clip, 1 the second.

    What a conditioned model is told always goes in a straight line.
    """
    first, second = (np.stack(encode(model, [pair[end] for pair in pairs])) for end in (0, 1))  # (B, D) each
    between = spherical if path == "spherical" else linear
    free = model.latent_dim - model.told_dim
    points = [
        np.concatenate([between(a[:free], b[:free], w), linear(a[free:], b[free:], w)])
        for a, b, w in zip(first, second, weights, strict=True)
    ]
    return decode(
        model,
        np.stack(points),
        [_levels(model, a).between(_levels(model, b), w) for (a, b), w in zip(pairs, weights, strict=True)],
        [a.duration_s + (b.duration_s - a.duration_s) * w for (a, b), w in zip(pairs, weights, strict=True)],
    )


def decode(
    model: SpectrogramModel, latents: FloatArray, levels: Sequence[Levels], durations_s: Sequence[float]
) -> Synthesis:
    """Turn latents (B, D) into spectrograms of these levels."""
    spectrograms = model.decode(
        latents,
        peak_db=np.asarray([level.peak_db for level in levels], np.float32),
        floor_db=np.asarray([level.floor_db for level in levels], np.float32),
    )
    restored = [
        restore_energy(spectrogram, level, model.features)
        for spectrogram, level in zip(spectrograms, levels, strict=True)
    ]
    return Synthesis(
        spectrograms=[spectrogram for spectrogram, _ in restored],
        latents=list(latents),
        durations_s=list(durations_s),
        boosts_db=[boost_db for _, boost_db in restored],
    )


def sample(
    model: SpectrogramModel,
    seeds: Sequence[int],
    *,
    labels: Labels | None = None,
    temperature: float | None = None,
) -> Synthesis:
    """Draw new spectrograms, one for each seed; `labels` such as {"digit": "7"} restrict the draw.

    A sample that would still sound where its frame ends is faded out.

    Raises
    ------
    UsageError
        The model has no such label, or nothing to draw from.
    """
    drawn = model.sample_latents(seeds, labels=labels, temperature=temperature)
    return Synthesis(
        spectrograms=[faded_out(one) for one in model.decode(drawn.latents, peak_db=drawn.peak_db)],
        latents=list(drawn.latents),
        durations_s=[float(seconds) for seconds in drawn.duration_s],
        labels=list(drawn.labels),
    )


def faded_out(spectrogram: FloatArray) -> FloatArray:
    """Return a spectrogram (F, T) in dB that falls by `FADE_DB` over its last frames, if it still sounds there."""
    n_faded = min(FADE_FRAMES, spectrogram.shape[1])
    if spectrogram[:, -1].max() <= spectrogram.max() - QUIET_DB:
        return spectrogram
    faded = spectrogram.copy()
    faded[:, -n_faded:] -= np.linspace(0, FADE_DB, n_faded, dtype=np.float32)
    return faded


def linear(a: FloatArray, b: FloatArray, weight: float | FloatArray) -> FloatArray:
    """Return the point on the straight line from `a` (weight 0) to `b` (weight 1)."""
    return np.asarray(a + (b - a) * np.asarray(weight, np.float32), np.float32)


def spherical(a: FloatArray, b: FloatArray, weight: float) -> FloatArray:
    """Return the point on the arc from `a` (weight 0) to `b` (weight 1), float32 [shape=(D,)].

    High-dimensional latents lie in a shell around the origin; the straight line cuts through its empty inside [1]_.
    Vectors that are parallel, opposite or zero have no arc of their own; for them this is `linear`.

    References
    ----------
    .. [1] White, "Sampling generative networks", 2016.
    """
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(np.dot(a, b)) / lengths if lengths else 1.0
    if abs(cosine) > 0.9999:
        return linear(a, b, weight)
    angle = np.arccos(cosine)
    parts = np.sin([(1 - weight) * angle, weight * angle]) / np.sin(angle)
    return np.asarray(np.float32(parts[0]) * a + np.float32(parts[1]) * b, np.float32)


def _levels(model: SpectrogramModel, source: SourceClip) -> Levels:
    return Levels.of(source.spectrogram, model.features)


def _in_windows(
    model: SpectrogramModel,
    sources: Sequence[SourceClip],
    latents_of: Callable[[FloatArray, Sequence[int]], FloatArray],
) -> Synthesis:
    """Encode and decode sources of any length in windows, and cross-fade these.

    `latents_of` gets windows (B, F, T) and the number of the source that each belongs to.
    """
    plans = [Windows(n_frames=source.spectrogram.shape[1], size=model.features.n_frames) for source in sources]
    owners = [number for number, plan in enumerate(plans) for _ in plan.starts]
    windows = [window for source, plan in zip(sources, plans, strict=True) for window in _cut(source, plan)]
    made = decode(
        model,
        latents_of(np.stack([window.spectrogram for window in windows]), owners),
        [_levels(model, window) for window in windows],
        [window.duration_s for window in windows],
    )
    counts = [len(plan.starts) for plan in plans]
    parts = grouped(made.spectrograms, counts)
    boosts = grouped(made.boosts_db, counts)
    return Synthesis(
        spectrograms=[plan.join(one) for plan, one in zip(plans, parts, strict=True)],
        latents=[one[0] if len(one) == 1 else np.stack(one) for one in grouped(made.latents, counts)],
        durations_s=[source.duration_s for source in sources],
        boosts_db=[max(one, key=abs) for one in boosts],
    )


def _cut(source: SourceClip, plan: Windows) -> list[SourceClip]:
    if plan.n_frames == plan.size:
        return [source]
    return [replace(source, spectrogram=window) for window in plan.cut(source.spectrogram)]


def _frames(model: SpectrogramModel, sources: Sequence[SourceClip]) -> FloatArray:
    """Return each source as one frame, (B, F, T); SpectrogramError if one is longer."""
    frames = []
    for source in sources:
        windows = Windows(n_frames=source.spectrogram.shape[1], size=model.features.n_frames).cut(source.spectrogram)
        if len(windows) > 1:
            raise SpectrogramError(
                f"a clip of {source.duration_s:.3f} s is longer than the frame of the model, "
                f"{model.features.duration_s:.3f} s, and only reconstruct, vary and invert take longer ones; build the "
                "dataset with --long split"
            )
        frames += windows
    return np.stack(frames)  # (F, T) each -> (B, F, T)
