"""Judges interpolations between held-out recordings.

Are both ends recognised? Does every step have a plausible level? Are the steps even?

Axis letters: P pairs, S steps, M mel bands, T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.evaluation.clips import sounds
from wavemill.evaluation.judge import Rendition
from wavemill.evaluation.plain_ear import Ear
from wavemill.operations.requests import interpolation_weights
from wavemill.synthesis import from_model
from wavemill.synthesis.from_model import SourceClip
from wavemill.vae.model import Model

STEPS = 5
LEVEL_DB = 3.0
SILENT_DB = -60.0  # root mean square, relative to full scale
LARGEST_JUMP = 0.7  # docs/why.md says why
_PAGE = 16  # pairs at a time

HOW = {
    "interpolation": (
        f"{STEPS} steps from one held-out clip to another, both reconstructed ends included, along the default path; "
        "the pairs are drawn with a fixed seed. Ends right: the share of ends recognised as their clip's labels, among "
        "clips whose plain reconstruction is recognised so. Steps sound: the share of steps whose root mean square is "
        f"over {SILENT_DB:g} dB re full scale and within the range between the ends' levels, widened by {LEVEL_DB:g} "
        "dB on both sides. Largest jump: the largest distance between neighbouring steps, as a share of the distance "
        "between the ends (root mean square of log-mel pictures, which do not depend on level); for even steps on a "
        f"straight line it is {1 / (STEPS - 1):.2f}. Whole: the share of pairs with no wrong end, every step sound and "
        f"no jump over {LARGEST_JUMP:g}"
    ),
}


def interpolation_figures(
    model: Model,
    recogniser: Ear,
    sources: Sequence[SourceClip],
    expected: Sequence[Mapping[str, str | None]],
    plain: Rendition,
    *,
    n_pairs: int,
    sample_rate_hz: int,
) -> dict[str, Any] | None:
    """Return figures of the paths between pairs of clips; None if there are no pairs.

    Parameters
    ----------
    sources : the clips
    expected : what the recogniser should hear of each, by kind of label
    plain : the judged plain reconstructions of the same clips
    """
    pairs = draw_pairs(len(sources), n_pairs)
    if not len(pairs):
        return None
    levels, jumped, names = [], [], []
    for first in range(0, len(pairs), _PAGE):
        made = way_sounds(model, [(sources[a], sources[b]) for a, b in pairs[first : first + _PAGE]], sample_rate_hz)
        pictures = recogniser.pictures(made, sample_rate_hz)
        levels.append(levels_db(made).reshape(-1, STEPS))
        jumped.append(jumps(pictures.reshape(-1, STEPS, *pictures.shape[1:])))
        heard = recogniser.recognise(pictures)
        names.append([{kind: heard.names(kind)[i] for kind in plain.heard} for i in range(len(made))])
    ends = [(page[row * STEPS], page[row * STEPS + STEPS - 1]) for page in names for row in range(len(page) // STEPS)]
    return summary(
        right=ends_right(pairs, ends, expected, plain.heard),
        sound=are_sound(np.concatenate(levels)),
        jumped=np.concatenate(jumped),
    )


def draw_pairs(n_clips: int, n_pairs: int) -> NDArray[np.int64]:
    """Return seeded pairs of different clips, (P, 2); none if there are fewer than two clips."""
    if n_clips < 2:
        return np.zeros((0, 2), np.int64)
    rng = np.random.default_rng(0)
    return np.array([rng.choice(n_clips, 2, replace=False) for _ in range(n_pairs)], np.int64).reshape(-1, 2)


def way_sounds(model: Model, pairs: Sequence[tuple[SourceClip, SourceClip]], sample_rate_hz: int) -> list[FloatArray]:
    """Return the sounds of every step of every pair, pair by pair."""
    weights = interpolation_weights(STEPS)
    every = [pair for pair in pairs for _ in weights]
    made = from_model.interpolate(model, every, weights * len(pairs))
    return sounds(made.spectrograms, model.features, made.durations_s, sample_rate_hz)


def levels_db(signals: Sequence[FloatArray]) -> FloatArray:
    """Return the root mean square of sounds in dB of full scale, (B,); -200 for silence."""
    power = [float(np.mean(np.square(signal, dtype=np.float64))) if signal.size else 0.0 for signal in signals]
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20)), np.float32)


def are_sound(levels: FloatArray) -> NDArray[np.bool_]:
    """Return which steps are neither silent nor out of range, from levels in dB, (P, S) -> (P, S).

    The range is that of the two ends, widened by `LEVEL_DB` on both sides.
    """
    ends = levels[:, [0, -1]]
    low, high = ends.min(axis=1, keepdims=True) - LEVEL_DB, ends.max(axis=1, keepdims=True) + LEVEL_DB
    return np.asarray((levels > SILENT_DB) & (levels >= low) & (levels <= high))


def jumps(pictures: FloatArray) -> FloatArray:
    """Return the largest distance between neighbouring steps, (P, S, M, T) -> (P,).

    It is relative to the distance between the ends. If the ends are equal, it is 0 when all steps
    are equal, else infinite.
    """
    steps = _distances(pictures[:, 1:], pictures[:, :-1]).max(axis=1)
    whole = _distances(pictures[:, 0], pictures[:, -1])
    return np.where(whole > 0, steps / np.maximum(whole, 1e-12), np.where(steps > 0, np.inf, 0)).astype(np.float32)


def ends_right(
    pairs: NDArray[np.int64],
    ends: Sequence[tuple[Mapping[str, str], Mapping[str, str]]],
    expected: Sequence[Mapping[str, str | None]],
    plain: Mapping[str, Sequence[str]],
) -> list[tuple[bool | None, bool | None]]:
    """Return for each end of each pair whether it is recognised as its clip's labels.

    None means that it cannot be judged: the clip's plain reconstruction is not recognised either,
    or the recogniser knows no label of the clips.

    Parameters
    ----------
    ends : what the recogniser hears at both ends of each pair, by kind of label
    expected : what the recogniser should hear of every clip, by kind of label
    plain : what the recogniser hears in every clip's plain reconstruction, by kind of label
    """

    def is_right(clip: int, heard: Mapping[str, str]) -> bool | None:
        true = {kind: name for kind, name in expected[clip].items() if kind in plain}
        if not true or any(plain[kind][clip] != name for kind, name in true.items()):
            return None
        return all(heard[kind] == name for kind, name in true.items())

    return [(is_right(a, first), is_right(b, last)) for (a, b), (first, last) in zip(pairs, ends, strict=True)]


def summary(
    *, right: Sequence[tuple[bool | None, bool | None]], sound: NDArray[np.bool_], jumped: FloatArray
) -> dict[str, Any]:
    """Summarise the results of all pairs as figures."""
    known = [end for both in right for end in both if end is not None]
    fine = np.array([False not in both for both in right])
    whole = fine & sound.all(axis=1) & (jumped <= LARGEST_JUMP)
    return {
        "pairs": len(right),
        "steps": sound.shape[1],
        "ends_judged": len(known),
        "ends_right": float(np.mean(known)) if known else None,
        "steps_sound": float(sound.mean()),
        "largest_jump_median": float(np.median(np.minimum(jumped, np.float32(1e6)))),
        "whole": float(whole.mean()),
    }


def _distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return root mean square distances over the last two axes."""
    return np.asarray(np.sqrt(np.square(first - second).mean(axis=(-2, -1))))
