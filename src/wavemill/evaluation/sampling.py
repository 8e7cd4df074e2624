"""Judges a model's samples: are they speech, do they have the labels asked for, are they new?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.evaluation.clips import JUDGED, sounds
from wavemill.evaluation.distances import entropy_share, frechet_distance, nearest
from wavemill.labels import Labels
from wavemill.recogniser.recogniser import Heard, Recogniser
from wavemill.synthesis import from_model
from wavemill.vae.model import Model

SURE = 0.9
_COPY_PERCENTILE = 1.0
_LEAST_PER_VALUE = 10

HOW = {
    "sure": f"share of samples that the recogniser labels with confidence over {SURE:g}",
    "covered": "how many values of a label occur among these samples",
    "entropy": "how evenly these samples cover the values: 1 if all are equally frequent, 0 if there is only one",
    "asked": f"share of samples drawn with a label that are recognised as that label with confidence over {SURE:g}",
    "frechet_distance": (
        "from the recogniser's embeddings of samples, or of held-out recordings, to those of recordings that are not "
        "held out; all sets have the same number of points, drawn at random, since small sets give greater distances"
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


def background(
    recogniser: Recogniser, held_out: Sequence[FloatArray], others: Iterable[Sequence[FloatArray]]
) -> Background:
    """Run the recogniser on the recordings, as sounds at 8 kHz; `others` come in pages."""
    unseen = recogniser.pictures(held_out, JUDGED.sample_rate_hz)
    seen = np.concatenate([recogniser.pictures(page, JUDGED.sample_rate_hz) for page in others])
    return Background(
        held_out_pictures=unseen,
        other_pictures=seen,
        held_out=recogniser.recognise(unseen),
        others=recogniser.recognise(seen),
    )


def sample_sounds(model: Model, seeds: Sequence[int], *, labels: Labels | None = None) -> list[FloatArray]:
    """Sample one sound at 8 kHz for each seed, at the default temperature.

    UsageError when the model cannot sample.
    """
    drawn = from_model.sample(model, seeds, labels=labels)
    return sounds(drawn.spectrograms, model.features, drawn.durations_s)


def sampling_figures(
    model: Model, recogniser: Recogniser, real: Background, *, kinds: Sequence[str], n_samples: int
) -> dict[str, Any]:
    """Return figures of samples, with and without labels; UsageError if the model cannot sample."""
    free = recogniser.pictures(sample_sounds(model, range(n_samples)), JUDGED.sample_rate_hz)
    heard = recogniser.recognise(free)
    return {
        "samples": n_samples,
        "free": {kind: coverage(heard, kind) for kind in kinds},
        "sure_of_all": sure_of_all(heard, kinds),
        "by_label": {kind: by_label(model, recogniser, kind, n_samples) for kind in kinds},
        **frechet_figures(heard, real),
        "memorisation": memorisation(free, real, range_db=recogniser.record.listening.range_db),
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


def memorisation(pictures: FloatArray, real: Background, *, range_db: float) -> dict[str, float]:
    """Compare how close samples and held-out recordings come to the other recordings.

    A model may have memorised the other recordings; it has not heard the held-out ones.
    """
    samples_db = nearest(pictures, real.other_pictures)[0] * range_db
    held_out_db = nearest(real.held_out_pictures, real.other_pictures)[0] * range_db
    return {
        "nearest_db_median": float(np.median(samples_db)),
        "nearest_db_median_of_held_out": float(np.median(held_out_db)),
        "nearest_db_least": float(samples_db.min()),
        "copies": float((samples_db < np.percentile(held_out_db, _COPY_PERCENTILE)).mean()),
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


def by_label(model: Model, recogniser: Recogniser, kind: str, n_samples: int) -> dict[str, Any]:
    """Sample each value that model and recogniser know; return the share recognised as asked."""
    known = set(model.prior.labels.get(kind, ())) if model.prior else set()
    values = recogniser.labels[kind]
    each = max(_LEAST_PER_VALUE, n_samples // len(values))
    shares = {}
    for column, value in enumerate(values):
        if value in known:
            first = (column + 1) * n_samples  # seeds that no sample without labels used
            made = sample_sounds(model, range(first, first + each), labels={kind: value})
            heard = recogniser.hear(made, JUDGED.sample_rate_hz)
            shares[value] = float((heard.probabilities[kind][:, column] > SURE).mean())
    asked = float(np.mean(list(shares.values()))) if shares else None
    return {"asked": asked, "samples_each": each, "by_value": shares}
