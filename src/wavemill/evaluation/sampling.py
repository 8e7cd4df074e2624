"""Judges a model's samples: are they speech, do they have the labels asked for, are they new?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.evaluation.clips import sounds
from wavemill.evaluation.distances import entropy_share, frechet_distance, nearest, neighbourhoods
from wavemill.evaluation.plain_ear import Ear
from wavemill.labels import Labels, LabelValue
from wavemill.recogniser.heard_values import heard_as
from wavemill.recogniser.recogniser import Heard
from wavemill.synthesis import from_model
from wavemill.vae.conditions import Category
from wavemill.vae.model import Model

SURE = 0.9
_COPY_PERCENTILE = 1.0
_LEAST_PER_VALUE = 10
NEIGHBOURS = 5  # as Naeem et al. take

HOW = {
    "sure": f"share of samples that the recogniser labels with confidence over {SURE:g}",
    "covered": "how many values of a label occur among these samples",
    "entropy": "how evenly these samples cover the values: 1 if all are equally frequent, 0 if there is only one",
    "asked": f"share of samples drawn with a label that are recognised as that label with confidence over {SURE:g}",
    "frechet_distance": (
        "from the recogniser's embeddings of samples, or of held-out recordings, to those of recordings that are not "
        "held out; all sets have the same number of points, drawn at random, since small sets give greater distances"
    ),
    "neighbourhoods": (
        f"of samples' embeddings among those of recordings that are not held out, with {NEIGHBOURS} neighbours (Naeem "
        "et al., 2020): precision and density say how near samples lie to recordings, recall and coverage how many "
        "recordings have a sample near"
    ),
    "nearer_than_others": (
        "share of samples that are closer to some recording that is not held out than all but "
        f"{_COPY_PERCENTILE:g} % of these recordings are to each other"
    ),
    "copies": (
        "share of samples that are closer to some recording that is not held out than all but "
        f"{_COPY_PERCENTILE:g} % of the held-out recordings are (root mean square of log-mel pictures, in dB)"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Background:
    """Pictures and embeddings of held-out and other recordings, to compare samples with."""

    held_out_pictures: FloatArray
    other_pictures: FloatArray
    held_out: Heard
    others: Heard
    sample_rate_hz: int = 8_000  # at which samples are heard


def background(
    recogniser: Ear, held_out: Sequence[FloatArray], others: Iterable[Sequence[FloatArray]], sample_rate_hz: int
) -> Background:
    """Run the recogniser on the recordings; `others` come in pages."""
    unseen = recogniser.pictures(held_out, sample_rate_hz)
    seen = np.concatenate([recogniser.pictures(page, sample_rate_hz) for page in others])
    return Background(
        held_out_pictures=unseen,
        other_pictures=seen,
        held_out=recogniser.recognise(unseen),
        others=recogniser.recognise(seen),
        sample_rate_hz=sample_rate_hz,
    )


def sample_sounds(
    model: Model, seeds: Sequence[int], sample_rate_hz: int, *, labels: Labels | None = None
) -> list[FloatArray]:
    """Sample one sound for each seed, at the default temperature.

    UsageError when the model cannot sample.
    """
    drawn = from_model.sample(model, seeds, labels=labels)
    return sounds(drawn.spectrograms, model.features, drawn.durations_s, sample_rate_hz, are_samples=True)


def sampling_figures(
    model: Model, recogniser: Ear, real: Background, *, kinds: Sequence[str], n_samples: int
) -> dict[str, Any]:
    """Return figures of samples, with and without labels; UsageError if the model cannot sample."""
    free = recogniser.pictures(sample_sounds(model, range(n_samples), real.sample_rate_hz), real.sample_rate_hz)
    heard = recogniser.recognise(free)
    return {
        "samples": n_samples,
        "free": {kind: coverage(heard, kind) for kind in kinds},
        "sure_of_all": sure_of_all(heard, kinds),
        "by_label": {kind: by_label(model, recogniser, kind, n_samples, real.sample_rate_hz) for kind in kinds},
        **frechet_figures(heard, real),
        "neighbourhoods": neighbourhood_figures(heard, real),
        "memorisation": memorisation(free, real, range_db=recogniser.listening.range_db),
    }


def sure_of_all(heard: Heard, kinds: Sequence[str]) -> float | None:
    """Return the share of samples recognised with confidence in all `kinds`; None without kinds."""
    if not kinds:
        return None
    return float(np.all([heard.confidence(kind) > SURE for kind in kinds], axis=0).mean())


def frechet_figures(heard: Heard, real: Background) -> dict[str, Any]:
    """Return the Frechet distances of samples and of held-out recordings from the other recordings.

    All sets have the same number of points; a distance is None for fewer than two.
    """
    n_points = min(len(heard.embedding), len(real.held_out.embedding), len(real.others.embedding))
    others = _drawn(real.others.embedding, n_points)

    def distance(points: FloatArray) -> float | None:
        return frechet_distance(_drawn(points, n_points), others) if n_points > 1 else None

    return {
        "frechet_points": n_points,
        "frechet_distance": distance(heard.embedding),
        "frechet_distance_of_held_out": distance(real.held_out.embedding),
    }


def neighbourhood_figures(heard: Heard, real: Background) -> dict[str, Any] | None:
    """Return precision, recall, density and coverage of samples among the held-out and other recordings.

    None if there are too few points. All sets have the same number of points.
    """
    n_points = min(len(heard.embedding), len(real.held_out.embedding), len(real.others.embedding))
    if n_points <= NEIGHBOURS:
        return None
    others, samples, held_out = (_drawn(one.embedding, n_points) for one in (real.others, heard, real.held_out))
    of_held_out = {f"{name}_of_held_out": value for name, value in neighbourhoods(others, held_out, NEIGHBOURS).items()}
    return {"points": n_points, **neighbourhoods(others, samples, NEIGHBOURS), **of_held_out}


def memorisation(pictures: FloatArray, real: Background, *, range_db: float) -> dict[str, float | None]:
    """Compare how close samples and held-out recordings come to the other recordings.

    A model may have memorised the other recordings; it has not heard the held-out ones. `nearer_than_others` is
    None if there is one other recording only.
    """
    samples_db = nearest(pictures, real.other_pictures)[0] * range_db
    held_out_db = nearest(real.held_out_pictures, real.other_pictures)[0] * range_db
    nearer = None
    if len(real.other_pictures) > 1:
        among_others_db = nearest(real.other_pictures, real.other_pictures, to_itself=False)[0] * range_db
        nearer = float((samples_db < np.percentile(among_others_db, _COPY_PERCENTILE)).mean())
    return {
        "nearest_db_median": float(np.median(samples_db)),
        "nearest_db_median_of_held_out": float(np.median(held_out_db)),
        "nearest_db_least": float(samples_db.min()),
        "copies": float((samples_db < np.percentile(held_out_db, _COPY_PERCENTILE)).mean()),
        "nearer_than_others": nearer,
    }


def coverage(heard: Heard, kind: str) -> dict[str, Any]:
    """Return the share of samples recognised with confidence, and how evenly they cover values."""
    values = heard.labels[kind]
    sure = heard.confidence(kind) > SURE
    counts = np.bincount(heard.probabilities[kind].argmax(axis=1)[sure], minlength=len(values))
    return {
        "sure": float(sure.mean()),
        "covered": int((counts > 0).sum()),
        "values": len(values),
        "entropy": entropy_share(counts),
        "counts": dict(zip(values, counts.tolist(), strict=True)),
    }


def _drawn(points: FloatArray, n_points: int) -> FloatArray:
    return points[np.random.default_rng(0).choice(len(points), n_points, replace=False)]


def by_label(model: Model, recogniser: Ear, kind: str, n_samples: int, sample_rate_hz: int = 8_000) -> dict[str, Any]:
    """Sample each value that model and recogniser know; return the share recognised as asked.

    Where the recogniser knows a range of numbers, the samples are spread over its numbers.
    """
    values, known = recogniser.labels[kind], _askable(model, kind)
    each = max(_LEAST_PER_VALUE, n_samples // len(values))
    shares = {}
    for column, value in enumerate(values):
        if own := [one for one in known if heard_as(one, values) == value]:
            first = (column + 1) * n_samples  # seeds that no sample without labels used
            made = _samples_of(model, range(first, first + each), sample_rate_hz, kind, own)
            heard = recogniser.hear(made, sample_rate_hz)
            shares[value] = float((heard.probabilities[kind][:, column] > SURE).mean())
    asked = float(np.mean(list(shares.values()))) if shares else None
    return {"asked": asked, "samples_each": each, "by_value": shares}


def _askable(model: Model, kind: str) -> Sequence[LabelValue]:
    """Return the values of a label that the model can be asked for; of a number, those that it learnt."""
    for condition in model.record.conditions:
        if condition.label == kind:
            return condition.values if isinstance(condition, Category) else condition.knots
    return model.prior.labels.get(kind, ()) if model.prior else ()


def _samples_of(
    model: Model, seeds: Sequence[int], sample_rate_hz: int, kind: str, values: Sequence[LabelValue]
) -> list[FloatArray]:
    """Return a sample for each seed, with the values of a label in turn."""
    count = min(len(values), len(seeds))
    chosen = [values[i * len(values) // count] for i in range(count)]
    made = [
        sample_sounds(model, seeds[i::count], sample_rate_hz, labels={kind: value}) for i, value in enumerate(chosen)
    ]
    return [sound for some in made for sound in some]
