"""Runs every operation of a model: spectrograms and latents in, spectrograms out. Makes no sound.

Axis letters: B batch, F frequency bins, T frames, D latent dimensions.

Levels: a reconstruction or variation gets the energy and floor of its source. An interpolation goes
evenly from the levels (in dB) and length (in seconds) of one clip to those of the other. A sample's
peak is drawn with its latents. Latents that come without levels peak at `DEFAULT_PEAK_DB`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.duration import QUIET_DB
from wavemill.audio.windows import Windows, grouped
from wavemill.labels import Labels
from wavemill.operations.requests import PATHS
from wavemill.presets import Features
from wavemill.synthesis.clip_latents import ClipLatents
from wavemill.synthesis.levels import Levels, point_between, restore_energy
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
    latents : list of ClipLatents
    boosts_db : list of float
        Gain of the loudest bins, see `wavemill.synthesis.levels`; empty if no level was restored.
    labels : list of mappings
        The labels of each result, if the operation draws labels; empty otherwise.
    """

    spectrograms: list[FloatArray]
    latents: list[ClipLatents]
    boosts_db: list[float] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)

    @property
    def durations_s(self) -> list[float]:
        """The length of each sound."""
        return [clip.duration_s for clip in self.latents]


@dataclass(frozen=True, kw_only=True)
class SourceClip:
    """A clip of any length that an operation starts from: float32 [shape=(F, T), in dB], and what is known of it."""

    spectrogram: FloatArray
    duration_s: float
    labels: Labels = field(default_factory=dict)  # what a conditioned model is told
    peak: float | None = None  # highest absolute sample of the recording, if it is known


def reconstruct(
    model: SpectrogramModel,
    sources: Sequence[SourceClip],
    *,
    seeds: Sequence[int] | None = None,
    refine: int | None = None,
) -> Synthesis:
    """Encode and decode; with `seeds`, draw each latent from its posterior instead of taking the mean."""
    return decode(model, encode(model, sources, seeds=seeds, refine=refine))


def vary(
    model: SpectrogramModel,
    sources: Sequence[SourceClip],
    *,
    seeds: Sequence[int],
    temperature: float,
    refine: int | None = None,
) -> Synthesis:
    """Return a neighbour of each source; see `Model.vary_latents` for how far a temperature goes."""
    clips = encode(model, sources, refine=refine)
    own_seeds = [seed for seed, clip in zip(seeds, clips, strict=True) for _ in clip.rows]
    rows = model.vary_latents(np.concatenate([clip.rows for clip in clips]), seeds=own_seeds, strength=temperature)
    parts = _split(rows, [len(clip.rows) for clip in clips])
    return decode(model, [replace(clip, rows=own) for clip, own in zip(clips, parts, strict=True)])


def encode(
    model: SpectrogramModel,
    sources: Sequence[SourceClip],
    *,
    seeds: Sequence[int] | None = None,
    n_frames: Sequence[int] | None = None,
    refine: int | None = None,
) -> list[ClipLatents]:
    """Return the latents of each source, in windows over its length, or over `n_frames` from its beginning.

    `refine` is the number of steps that improve them, see `Model.encode`.
    """
    size = model.features.n_frames
    lengths = n_frames or [source.spectrogram.shape[1] for source in sources]
    plans = [Windows(n_frames=length, size=size) for length in lengths]
    counts = [len(plan.starts) for plan in plans]
    owners = [number for number, count in enumerate(counts) for _ in range(count)]
    windows = [one for source, plan in zip(sources, plans, strict=True) for one in plan.cut(source.spectrogram)]
    rows = model.encode(
        np.stack(windows),  # (F, T) each -> (B, F, T)
        seeds=None if seeds is None else [seeds[owner] for owner in owners],
        labels=[sources[owner].labels for owner in owners],
        refine=refine,
    )
    levels = [Levels.of(window, model.features) for window in windows]
    return [
        ClipLatents(rows=own, levels=own_levels, n_frames=plan.n_frames, duration_s=source.duration_s, peak=source.peak)
        for source, plan, own, own_levels in zip(
            sources, plans, _split(rows, counts), grouped(levels, counts), strict=True
        )
    ]


def interpolate(
    model: SpectrogramModel,
    pairs: Sequence[tuple[SourceClip, SourceClip]],
    weights: Sequence[float],
    *,
    path: str = PATHS[0],
    refine: int | None = None,
) -> Synthesis:
    """Return one point between the clips of each pair: weight 0 is the first clip, 1 the second.

    Both clips of a pair are cut into the windows of the point's own length, and each window of one
    is paired with that of the other. The shorter clip is silent after its end. What a conditioned
    model is told always goes in a straight line.
    """
    n_frames = [
        ceil(point_between(a.spectrogram.shape[1], b.spectrogram.shape[1], w))
        for (a, b), w in zip(pairs, weights, strict=True)
    ]
    first, second = (encode(model, [pair[end] for pair in pairs], n_frames=n_frames, refine=refine) for end in (0, 1))
    free = model.latent_dim - model.told_dim
    return decode(
        model,
        [_point(a, b, w, free=free, path=path) for a, b, w in zip(first, second, weights, strict=True)],
    )


def decode(model: SpectrogramModel, clips: Sequence[ClipLatents]) -> Synthesis:
    """Turn the latents of each clip into its spectrogram; windows are cross-faded."""
    levels = [level for clip in clips for level in clip.levels]
    decoded = model.decode(
        np.concatenate([clip.rows for clip in clips]),
        peak_db=np.asarray([level.peak_db for level in levels], np.float32),
        floor_db=np.asarray([level.floor_db for level in levels], np.float32),
    )
    restored = [restore_energy(one, level, model.features) for one, level in zip(decoded, levels, strict=True)]
    parts = list(grouped(restored, [len(clip.rows) for clip in clips]))
    size = model.features.n_frames
    return Synthesis(
        spectrograms=[
            _ended(clip, clip.windows(size).join([spectrogram for spectrogram, _ in own]), model.features)
            for clip, own in zip(clips, parts, strict=True)
        ],
        latents=list(clips),
        boosts_db=[max((boost_db for _, boost_db in own), key=abs) for own in parts],
    )


def sample(
    model: SpectrogramModel,
    seeds: Sequence[int],
    *,
    labels: Labels | None = None,
    temperature: float | None = None,
) -> Synthesis:
    """Draw new spectrograms, one for each seed; `labels` such as {"digit": "7"} restrict the draw.

    A sample that still sounds where it ends is faded out.

    Raises
    ------
    UsageError
        The model has no such label, or nothing to draw from.
    """
    drawn = model.sample_latents(seeds, labels=labels, temperature=temperature)
    floor_db = drawn.peak_db - np.float32(model.features.range_db)
    clips = [
        ClipLatents(
            rows=row[None],  # (D,) -> (1, D)
            levels=[Levels(peak_db=float(peak), floor_db=float(floor))],
            n_frames=model.features.n_frames,
            duration_s=float(seconds),
            is_sample=True,
        )
        for row, peak, floor, seconds in zip(drawn.latents, drawn.peak_db, floor_db, drawn.duration_s, strict=True)
    ]
    return replace(decode(model, clips), boosts_db=[], labels=list(drawn.labels))


def _ended(clip: ClipLatents, spectrogram: FloatArray, features: Features) -> FloatArray:
    return faded_out(spectrogram, n_frames=_frames_within(features, clip.duration_s)) if clip.is_sample else spectrogram


def faded_out(spectrogram: FloatArray, *, n_frames: int) -> FloatArray:
    """Return a spectrogram (F, T) in dB that falls by `FADE_DB` up to frame `n_frames`, if it still sounds there."""
    if spectrogram[:, n_frames - 1].max() <= spectrogram.max() - QUIET_DB:
        return spectrogram
    n_faded = min(FADE_FRAMES, n_frames)
    faded = spectrogram.copy()
    faded[:, n_frames - n_faded : n_frames] -= np.linspace(0, FADE_DB, n_faded, dtype=np.float32)
    faded[:, n_frames:] -= np.float32(FADE_DB)
    return faded


def _frames_within(features: Features, duration_s: float) -> int:
    n_samples = duration_s * features.sample_rate_hz
    if round(n_samples) >= features.n_samples:
        return features.n_frames
    return min(features.n_frames, max(1, round(n_samples / features.hop_length)))


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


def _point(a: ClipLatents, b: ClipLatents, weight: float, *, free: int, path: str) -> ClipLatents:
    """Return the point between two clips of as many windows; the first `free` latents take the path."""
    between = spherical if path == "spherical" else linear
    rows = [
        np.concatenate([between(one[:free], other[:free], weight), linear(one[free:], other[free:], weight)])
        for one, other in zip(a.rows, b.rows, strict=True)
    ]
    return ClipLatents(
        rows=np.stack(rows),  # (D,) each -> (W, D)
        levels=[one.between(other, weight) for one, other in zip(a.levels, b.levels, strict=True)],
        n_frames=a.n_frames,
        duration_s=point_between(a.duration_s, b.duration_s, weight),
        peak=None if a.peak is None or b.peak is None else point_between(a.peak, b.peak, weight),
    )


def _split(rows: FloatArray, counts: Sequence[int]) -> list[FloatArray]:
    """Return consecutive groups of rows, each with as many as `counts` says."""
    return np.split(rows, np.cumsum(counts)[:-1])
