"""The prior of a conditioned model: latents given labels, for combinations with one take or none too.

The network's own prior says where the latents of clips with given labels lie. What is fitted here
after training is how clips differ from that: a normal distribution of few directions. Beside it is a
list of the labels that were learnt together, from which those are drawn that a user leaves open.

Axis letters: N rows, D latents, R directions, L conditions, K numbers of all conditions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError, UsageError
from wavemill.files.bounded_json import parse_json
from wavemill.labels import Labels
from wavemill.operations.requests import HOTTEST
from wavemill.vae.conditions import Category, Conditions, labels_in, total_width
from wavemill.vae.told import Told, told

TEMPERATURE = 0.5  # docs/why.md
MOST_DIRECTIONS = 64
NEAREST = 4  # rows whose levels are averaged for a sample's
_CLOSE = 0.02  # of a number's range: rows this near have about the same level
_EQUAL = 1e-6
_KIND = "conditional"
_PREFIX = "prior/"
_ARRAYS = ("rows", "peaks_db", "factors", "rest")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a sample starts from, one row per seed."""

    numbers: FloatArray  # (B, K): the conditions
    noise: FloatArray  # (B, D): distance from the prior's mean
    peak_db: FloatArray  # (B,)
    labels: tuple[Labels, ...]


@dataclass(frozen=True, kw_only=True)
class ConditionalPrior:
    """Labels that were learnt together, with their levels, and how latents differ from the network's prior."""

    conditions: Conditions
    rows: FloatArray  # (N, L): the number, or the index of the category
    peaks_db: FloatArray  # (N,)
    factors: FloatArray  # (R, D)
    rest: FloatArray  # (D,): deviation in the other directions

    left_out: tuple[Labels, ...] = ()  # every combination can be sampled

    @classmethod
    def fit(
        cls, conditions: Conditions, differences: FloatArray, *, peak_db: FloatArray, labels: Sequence[Labels]
    ) -> Self:
        """Fit to a training set.

        Parameters
        ----------
        differences : float32 [shape=(items, latent_dim)]
            Each item's latents less the mean that the network's prior gives for its labels.
        peak_db : float32 [shape=(items,)]
        labels : one mapping per item; items that lack a label count for the differences only
        """
        numbers, known = told(conditions, labels)
        complete = known.all(axis=1)
        if not complete.any():
            raise UsageError(
                f"no recording has all of the labels {', '.join(c.label for c in conditions)}; omit one --condition"
            )
        factors, rest = _directions(differences)
        rows = _as_rows(conditions, numbers[complete])
        return cls(conditions=conditions, rows=rows, peaks_db=peak_db[complete], factors=factors, rest=rest)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray], conditions: Conditions, latent_dim: int) -> Self | None:
        """Build a prior from what `arrays` returned; None when `arrays` holds no prior."""
        own = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
        if not own:
            return None
        try:
            about = parse_json(own["about"].astype(np.uint8).tobytes())
            rows, peaks_db, factors, rest = (own[name] for name in _ARRAYS)
            prior = cls(conditions=conditions, rows=rows, peaks_db=peaks_db, factors=factors, rest=rest)
            prior._require_consistent(about.get("kind"), latent_dim)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as exc:
            raise ModelError(f"the model's prior cannot be read: {exc}; restore the model or train it again") from exc
        return prior

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the prior as arrays, for a model's `latents.npz`."""
        stored: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        stored |= {name: stored[name].astype(np.float16) for name in ("factors", "rest")}
        stored["about"] = np.frombuffer(json.dumps({"kind": _KIND}).encode(), np.uint8)
        return {_PREFIX + name: array for name, array in stored.items()}

    @property
    def labels(self) -> dict[str, list[str]]:
        """The texts that can be asked for, by label; numbers are in `conditions`."""
        return {c.label: list(c.values) for c in self.conditions if isinstance(c, Category)}

    def draw(self, seeds: Sequence[int], *, labels: Labels, temperature: float) -> Draw:
        """Draw the labels that are not asked for, levels and noise; each row depends on its seed alone."""
        if not 0 <= temperature <= HOTTEST:
            raise UsageError(f"expected a temperature from 0 to {HOTTEST:g}, received {temperature}")
        wanted = self._wanted(labels)
        rngs = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        rows = np.stack([self._row(wanted, rng) for rng in rngs])  # (B, L)
        numbers = _as_numbers(self.conditions, rows)
        return Draw(
            numbers=numbers,
            noise=np.float32(temperature) * np.stack([self._difference(rng) for rng in rngs]),
            peak_db=np.array([self._peak_db(row) for row in rows], np.float32),
            labels=tuple(labels_in(self.conditions, [float(x) for x in row]) for row in numbers),
        )

    def noise(self, seeds: Sequence[int]) -> FloatArray:
        """Return random differences between items of the same labels, (B, D + K), each row from its seed."""
        rngs = (np.random.Generator(np.random.Philox(key=seed)) for seed in seeds)
        differences = np.float32(np.sqrt(2)) * np.stack([self._difference(rng) for rng in rngs])
        return np.pad(differences, ((0, 0), (0, total_width(self.conditions))))

    def _wanted(self, labels: Labels) -> dict[int, float]:
        """Return what is asked for as column -> value of a row; UsageError if the model cannot make it."""
        columns = {condition.label: i for i, condition in enumerate(self.conditions)}
        wanted = {}
        for label, value in labels.items():
            if label not in columns:
                known = "; ".join(condition.described for condition in self.conditions)
                raise UsageError(f"the model knows no label {label!r}; labels that it knows: {known}")
            condition = self.conditions[columns[label]]
            asked = condition.require(value)
            is_text = isinstance(condition, Category)
            wanted[columns[label]] = float(condition.values.index(str(asked)) if is_text else asked)  # type: ignore[union-attr]
        return wanted

    def _row(self, wanted: Mapping[int, float], rng: np.random.Generator) -> FloatArray:
        """Return a row (L,) that has the wanted values, and the others of one of the nearest learnt rows."""
        distance = self._distance(wanted)
        nearest = np.flatnonzero(distance <= distance.min() + _EQUAL)
        row: FloatArray = self.rows[nearest[rng.integers(len(nearest))]].copy()
        for column, value in wanted.items():
            row[column] = value
        return row

    def _distance(self, wanted: Mapping[int, float]) -> FloatArray:
        """Return each row's distance from the wanted values: 1 a category, or a number's whole range."""
        distance = np.zeros(len(self.rows), np.float32)
        for column, value in wanted.items():
            condition = self.conditions[column]
            if isinstance(condition, Category):
                distance += 2.0 * (self.rows[:, column] != value)  # more than any number
            else:
                distance += np.abs(self.rows[:, column] - value) / (condition.knots[-1] - condition.knots[0])
        return distance

    def _peak_db(self, row: FloatArray) -> float:
        distance = self._distance(dict(enumerate(row.tolist())))
        nearest = np.argsort(distance, kind="stable")[:NEAREST]
        return float(np.average(self.peaks_db[nearest], weights=1 / (distance[nearest] + _CLOSE)))

    def _difference(self, rng: np.random.Generator) -> FloatArray:
        along = rng.standard_normal(len(self.factors), np.float32) @ self.factors
        return np.asarray(along + rng.standard_normal(len(self.rest), np.float32) * self.rest, np.float32)

    def _require_consistent(self, kind: object, latent_dim: int) -> None:
        if kind != _KIND:
            raise ValueError("it is not of a conditioned model")
        shapes = {name: getattr(self, name).shape for name in _ARRAYS}
        n_rows, n_directions = len(self.rows), len(self.factors)
        expected = {"rows": (n_rows, len(self.conditions)), "peaks_db": (n_rows,)}
        expected |= {"factors": (n_directions, latent_dim), "rest": (latent_dim,)}
        if shapes != expected or not n_rows:
            raise ValueError(f"expected arrays of shapes {expected}, received {shapes}")
        if not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ValueError("it holds NaN or infinite values")
        for column, condition in enumerate(self.conditions):
            values = self.rows[:, column]
            if isinstance(condition, Category) and not ((values >= 0) & (values < len(condition.values))).all():
                raise ValueError(f"a row's {condition.label} is none of the {len(condition.values)} values")


def _directions(differences: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the leading directions, scaled by their deviations, (R, D), and what deviation is left, (D,)."""
    n_items, latent_dim = differences.shape
    rank = min(MOST_DIRECTIONS, n_items // 4, latent_dim)
    _, deviations, directions = np.linalg.svd(differences.astype(np.float64), full_matrices=False)
    factors = directions[:rank] * deviations[:rank, None] / np.sqrt(n_items)
    left = np.square(differences.astype(np.float64)).mean(axis=0) - np.square(factors).sum(axis=0)
    return factors.astype(np.float32), np.sqrt(np.maximum(left, 0)).astype(np.float32)


def _as_rows(conditions: Conditions, numbers: FloatArray) -> FloatArray:
    """(N, K) -> (N, L): the index of a category instead of its weights."""
    columns, first = [], 0
    for condition in conditions:
        part = numbers[:, first : first + condition.width]
        columns.append(part.argmax(axis=1) if isinstance(condition, Category) else part[:, 0])
        first += condition.width
    return np.stack(columns, axis=1).astype(np.float32)


def _as_numbers(conditions: Conditions, rows: FloatArray) -> FloatArray:
    """Undo `_as_rows`, (N, L) -> (N, K)."""
    labels = [
        {
            condition.label: condition.values[int(value)] if isinstance(condition, Category) else float(value)
            for condition, value in zip(conditions, row, strict=True)
        }
        for row in rows
    ]
    made: Told = told(conditions, labels)
    return made.numbers
