"""What ratings say about a batch: their mean, the quality of the sounds of each rating, and whether both agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import correlation, fmean, stdev
from typing import Any

from wavemill.jobs.filters import QUALITY
from wavemill.jobs.ratings import RATINGS

_Z_95 = 1.96  # of the normal distribution: 95 % lie within so many standard errors


def rating_figures(rated: Iterable[tuple[int, Mapping[str, Any] | None]]) -> dict[str, Any]:
    """Return the figures of jobs, each given as its rating and its quality column.

    Returns
    -------
    dict
        `rated`: number of jobs. `mean`: their mean rating, None without any. `mean_within`: half the width of its 95 %
        confidence interval, None for fewer than two jobs. `by_rating`: rating -> `jobs`, and the mean of each figure of
        quality. `rank_correlation`: figure -> Spearman's coefficient between the rating and it, from -1 to 1; left out
        where one of the two is the same for all jobs.
    """
    pairs = [(rating, quality or {}) for rating, quality in rated]
    ratings = [rating for rating, _ in pairs]
    correlations = {field: _correlation(pairs, field) for field in QUALITY}
    return {
        "rated": len(pairs),
        "mean": fmean(ratings) if ratings else None,
        "mean_within": _Z_95 * stdev(ratings) / math.sqrt(len(ratings)) if len(ratings) > 1 else None,
        "by_rating": {str(one): _means([quality for rating, quality in pairs if rating == one]) for one in RATINGS},
        "rank_correlation": {field: value for field, value in correlations.items() if value is not None},
    }


def _means(qualities: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = {field: [quality[field] for quality in qualities if _is_number(quality.get(field))] for field in QUALITY}
    return {"jobs": len(qualities), **{field: fmean(numbers) for field, numbers in values.items() if numbers}}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _correlation(pairs: Sequence[tuple[int, Mapping[str, Any]]], field: str) -> float | None:
    known = [(rating, quality[field]) for rating, quality in pairs if _is_number(quality.get(field))]
    x, y = _ranks([rating for rating, _ in known]), _ranks([value for _, value in known])
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return correlation(x, y)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the place of each value in their order; equal values share the mean of their places."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    means = {value: fmean(shared) for value, shared in places.items()}
    return [means[value] for value in values]
