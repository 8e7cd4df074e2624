"""Prototypes of each group of latents, and points between them.

A group's latents lie on a curved surface, not in a ball. Draws from a Gaussian miss that surface,
and decode to mumbling; points between neighbours are still on it (docs/why.md has the figures).
Each prototype is the mean of a few neighbouring latents, at least two, stored in half precision. No
recording can be recovered from it, and averaging keeps draws further from the recordings.
`Prior.fit` leaves out groups of a single latent, unless there is only one latent.

Axis letters: N points, M prototypes, K neighbours, E dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.vae.latents.clusters import RANK, leading

IntArray = NDArray[np.int64]
Matrix = NDArray[np.float64]

TAKES = 4  # latents per prototype at least, if the group has that many; no latent is used twice
NEIGHBOURS = 3
MOST_NUMBERS = 2**20  # two megabytes; a spatial latent has fewer prototypes
MOST_PROTOTYPES = 2**13


@dataclass(frozen=True, kw_only=True)
class Prototypes:
    """Prototypes in equally likely groups, each with its nearest neighbours in the same group."""

    points: FloatArray  # (M, E)
    group_of: IntArray  # (M,)
    neighbours: IntArray  # (M, K); a lone point in its group is its own neighbour

    @classmethod
    def fit(cls, points: Matrix, group_of: IntArray) -> Self:
        """Average neighbouring points (N, E) in groups (N,); each group has at least one point."""
        n_groups = int(group_of.max()) + 1
        middles = np.stack([points[group_of == group].mean(axis=0) for group in range(n_groups)])
        # (N, E) -> (N, R), with equal variance in all directions
        whitened = leading(points - middles[group_of], RANK, whiten=True)
        most = max(1, min(MOST_PROTOTYPES, MOST_NUMBERS // points.shape[1]) // n_groups)
        bundles = [_bundles(np.flatnonzero(group_of == group), whitened, most) for group in range(n_groups)]
        starts = np.cumsum([0, *(len(own) for own in bundles)])
        near = [
            start + _nearest(np.stack([whitened[bundle].mean(axis=0) for bundle in own]))
            for start, own in zip(starts, bundles, strict=False)
        ]
        return cls(
            points=np.stack([points[bundle].mean(axis=0) for own in bundles for bundle in own]).astype(np.float32),
            group_of=np.repeat(np.arange(n_groups), np.diff(starts)),
            neighbours=np.concatenate(near),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Build prototypes from what `arrays` returned."""
        group_of, neighbours = (arrays[name].astype(np.int64) for name in ("group_of", "neighbours"))
        return cls(points=arrays["points"], group_of=group_of, neighbours=neighbours)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the prototypes as arrays to store."""
        indices = {name: getattr(self, name).astype(np.uint16) for name in ("group_of", "neighbours")}
        return {"points": self.points.astype(np.float16), **indices}

    def sample(self, groups: Sequence[int], rng: np.random.Generator, temperature: float) -> tuple[FloatArray, int]:
        """Draw a point (E,) from one of `groups`; return it with its group.

        `temperature` scales its distance from the middle of the group.
        """
        group = groups[int(rng.integers(len(groups)))]
        members = np.flatnonzero(self.group_of == group)
        one = members[rng.integers(len(members))]
        other = self.neighbours[one, rng.integers(self.neighbours.shape[1])]
        middle = self.points[members].mean(axis=0)
        between = self.points[one] + np.float32(rng.uniform()) * (self.points[other] - self.points[one])
        return np.asarray(middle + np.float32(temperature) * (between - middle), np.float32), group

    def spread(self, points: Matrix, group_of: IntArray) -> float:
        """Return the distance between points (N, E) of a group relative to that of prototypes.

        Prototypes are means, so they lie closer together than the points do. The result is a ratio
        of root mean squares over all groups, weighted as `difference` draws them, or 1 if no group
        has two prototypes that differ. `points` may lack the last dimensions of the prototypes,
        which are then ignored.
        """
        groups, n_prototypes = np.unique(self.group_of, return_counts=True)
        own = self.points[:, : points.shape[1]].astype(np.float64)
        several = groups[n_prototypes > 1]
        weights = n_prototypes[n_prototypes > 1]
        apart = np.sum([w * _apart(points[group_of == g]) for g, w in zip(several, weights, strict=True)])
        prototypes_apart = np.sum([w * _apart(own[self.group_of == g]) for g, w in zip(several, weights, strict=True)])
        return float(np.sqrt(apart / prototypes_apart)) if prototypes_apart > 0 else 1.0

    def difference(self, rng: np.random.Generator) -> FloatArray:
        """Return the difference (E,) of a random prototype from another one of its group.

        If it is the only one of its group, the other may be of any group.
        """
        one = int(rng.integers(len(self.points)))
        is_other = np.arange(len(self.points)) != one
        own = np.flatnonzero(is_other & (self.group_of == self.group_of[one]))
        others = own if len(own) else np.flatnonzero(is_other)
        other = others[rng.integers(len(others))] if len(others) else one
        return np.asarray(self.points[one] - self.points[other], np.float32)


def _apart(points: Matrix) -> float:
    """Return the mean squared distance between two different points of (N, E), N > 1."""
    return float(2 * np.square(points - points.mean(axis=0)).sum() / (len(points) - 1))


def _bundles(members: IntArray, whitened: Matrix, most: int) -> list[IntArray]:
    """Group `members` into bundles of neighbours, outermost first.

    Members left over join the nearest bundle.
    """
    size = max(TAKES, -(-len(members) // most))
    left = members
    bundles: list[IntArray] = []
    while len(left) >= size or not bundles:
        outermost = left[np.argmax(_distances(whitened[left], whitened[left].mean(axis=0)))]
        order = left[np.argsort(_distances(whitened[left], whitened[outermost]), kind="stable")]
        bundles.append(order[:size])
        left = np.sort(order[size:])
    middles = np.stack([whitened[bundle].mean(axis=0) for bundle in bundles])
    for member in left:
        nearest = int(np.argmin(_distances(middles, whitened[member])))
        bundles[nearest] = np.append(bundles[nearest], member)
    return bundles


def _distances(points: Matrix, point: Matrix) -> Matrix:
    return np.asarray(np.square(points - point).sum(axis=1))


def _nearest(points: Matrix) -> IntArray:
    """Return each point's nearest neighbours, nearest first, (M, E) -> (M, NEIGHBOURS).

    They are repeated where there are fewer than NEIGHBOURS.
    """
    distance = np.stack([_distances(points, point) for point in points])  # (M, M)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, : max(1, min(NEIGHBOURS, len(points) - 1))]
    return np.resize(order.T, (NEIGHBOURS, len(points))).T
