"""The prior of a trained model: the distribution of its latents, from which new ones are drawn.

The latents of a trained autoencoder do not follow the standard normal distribution: decoding
standard normal noise gives mumbling. A prior fitted to the training latents after training
is better [1]_. This one consists of prototypes for each combination of labels, and of the points
between neighbouring prototypes (`wavemill.vae.latents.prototypes`).

References
----------
.. [1] Ghosh et al., "From variational to deterministic autoencoders", 2020.
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
from wavemill.labels import Labels, label_equals
from wavemill.operations.requests import HOTTEST
from wavemill.vae.latents.clusters import cluster
from wavemill.vae.latents.prototypes import TAKES, Prototypes

TEMPERATURE = 1.2  # docs/why.md
MOST_GROUPS = 256  # combinations of labels; with more, the label with the most values is ignored
MOST_ITEMS = 2**14  # that a prior is fitted to; with more, finding bundles of four takes minutes
MOST_NUMBERS = 2**25  # in their latents together: a quarter of a gigabyte in double precision
_PREFIX = "prior/"


@dataclass(frozen=True, kw_only=True)
class SampledLatents:
    """Latents drawn from a model's prior, one row per seed."""

    latents: FloatArray  # [shape=(batch, latent_dim)]
    peak_db: FloatArray  # [shape=(batch,)], the level to pass to `Model.decode`
    duration_s: FloatArray  # [shape=(batch,)], where the sound ends; what comes after is padding
    labels: tuple[Labels, ...]  # each row's labels; empty mappings if the model was trained without labels


class Prior:
    """The joint distribution of latents and their levels, in groups that carry labels."""

    def __init__(
        self,
        prototypes: Prototypes,
        labels: Sequence[Labels],
        peak_range_db: tuple[float, float],
        *,
        spread: float = 1.0,  # distance between takes, as a multiple of that between prototypes
    ) -> None:
        self._prototypes, self._labels, self._peak_range_db = prototypes, tuple(labels), peak_range_db
        self._spread = spread
        self.left_out: tuple[Labels, ...] = ()  # set by `fit`: combinations of labels with a single item

    @classmethod
    def fit(cls, latents: FloatArray, *, peak_db: FloatArray, labels: Sequence[Labels]) -> Self:
        """Fit a prior to a training set, in one group for each combination of labels.

        Without labels, clustering makes the groups. Of a large set, only a seeded selection from
        each group is used (see `items_to_fit`). A combination of labels that only one item has is
        left out and listed in `left_out`, because its prototype would be that item.

        Parameters
        ----------
        latents : float32 [shape=(items, latent_dim)]
        peak_db : float32 [shape=(items,)]
            Each item's level. It is drawn together with the latent, because it depends on the
            speaker too.
        labels : one mapping per item, such as {"digit": "7", "speaker": "george"}
        """
        peak_range_db = (float(peak_db.min()), float(peak_db.max()))
        chosen = items_to_fit(labels, latents.shape[1])
        points = np.concatenate([latents[chosen], peak_db[chosen, None]], axis=1).astype(np.float64)  # (N, D + 1)
        group_of, carried = _grouped([labels[i] for i in chosen])
        left_out = [carried[group] for group, count in enumerate(np.bincount(group_of)) if count == 1]
        if not carried[0]:
            group_of, left_out = cluster(points), []
            carried = carried * (int(group_of.max()) + 1)
        elif left_out:
            points, group_of, carried = _without_lone(points, group_of, carried)
        prototypes = Prototypes.fit(points, group_of)
        spread = prototypes.spread(points[:, :-1], group_of)  # the level is not varied
        prior = cls(prototypes, carried, peak_range_db, spread=spread)
        prior.left_out = tuple(left_out)
        return prior

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self | None:
        """Build a prior from what `arrays` returned; None when `arrays` holds no prior."""
        own = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
        if not own:
            return None
        try:
            about = parse_json(own["about"].astype(np.uint8).tobytes())
            spread = float(about.get("spread", 1.0))  # older models have no such figure
            return cls(Prototypes.from_arrays(own), about["labels"], tuple(about["peak_range_db"]), spread=spread)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as exc:
            raise ModelError(f"the model's prior cannot be read: {exc}; restore the model or train it again") from exc

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the prior as arrays, for a model's `latents.npz`."""
        about = {"labels": self._labels, "peak_range_db": self._peak_range_db, "spread": self._spread}
        arrays = {**self._prototypes.arrays(), "about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        return {_PREFIX + name: array for name, array in arrays.items()}

    @property
    def labels(self) -> dict[str, list[str]]:
        """The labels that can be asked for, such as {"digit": ["0", "1"]}; empty without labels."""
        return {key: sorted({str(labels[key]) for labels in self._labels}) for key in sorted(self._labels[0])}

    def draw(
        self, seeds: Sequence[int], *, labels: Labels, temperature: float
    ) -> tuple[FloatArray, FloatArray, tuple[Labels, ...]]:
        """Draw latents (B, D), levels in dB (B,) and labels; each row depends on its seed alone."""
        if not 0 <= temperature <= HOTTEST:
            raise UsageError(f"expected a temperature from 0 to {HOTTEST:g}, received {temperature}")
        groups = self._groups(labels)
        points, group_of = zip(
            *(self._prototypes.sample(groups, _rng(seed), temperature) for seed in seeds), strict=True
        )
        drawn = np.stack(points)  # (B, D + 1)
        carried = tuple(self._labels[group] for group in group_of)
        return drawn[:, :-1].copy(), np.clip(drawn[:, -1], *self._peak_range_db), carried

    def noise(self, seeds: Sequence[int]) -> FloatArray:
        """Return random differences between items of one group, (B, D), each row from its seed."""
        differences = np.stack([self._prototypes.difference(_rng(seed))[:-1] for seed in seeds])
        return np.asarray(np.float32(self._spread) * differences, np.float32)

    def _groups(self, wanted: Labels) -> list[int]:
        chosen = [
            i
            for i, own in enumerate(self._labels)
            if all(k in own and label_equals(own[k], str(v)) for k, v in wanted.items())
        ]
        if not chosen:
            known = "; ".join(f"{key}: {', '.join(values)}" for key, values in self.labels.items())
            raise UsageError(
                f"nothing was learnt under the label {', '.join(f'{k}={v}' for k, v in wanted.items())}; "
                + (f"the model's labels are {known}" if known else "the model was trained without labels")
            )
        return chosen


def items_to_fit(labels: Sequence[Labels], latent_dim: int, *, n_items: int | None = None) -> NDArray[np.int64]:
    """Return the indices of the items to fit a prior to, sorted.

    Of a small set these are all items; of a large one, a seeded choice of equally many from each
    group, or of any where `labels` is empty and `n_items` given. Encode only these: the latents of
    a million items would fill the memory.
    """
    n_items = len(labels) if n_items is None else n_items
    most = min(MOST_ITEMS, MOST_NUMBERS // latent_dim)
    if n_items <= most:
        return np.arange(n_items)
    if not labels:
        return np.sort(np.random.default_rng(0).permutation(n_items)[:most])
    group_of, carried = _grouped(labels)
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(group_of[order], kind="stable")]  # by group, shuffled within
    counts = np.bincount(group_of)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[place < max(TAKES, most // len(carried))])


def _grouped(labels: Sequence[Labels]) -> tuple[NDArray[np.int64], list[Labels]]:
    """Return the group of each item, (N,), and the labels that each group carries."""
    keys = _grouping_keys(labels)
    values = [tuple(item.get(key, "") for key in keys) for item in labels]
    groups = sorted(set(values), key=lambda group: [str(value) for value in group])  # a label may mix texts and numbers
    number = {group: i for i, group in enumerate(groups)}
    return np.array([number[value] for value in values]), [dict(zip(keys, group, strict=True)) for group in groups]


def _without_lone(
    points: NDArray[np.float64], group_of: NDArray[np.int64], carried: list[Labels]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[Labels]]:
    """Leave out groups of a single point and renumber the rest."""
    counts = np.bincount(group_of)
    kept = counts[group_of] > 1
    _, renumbered = np.unique(group_of[kept], return_inverse=True)
    return points[kept], renumbered, [labels for labels, count in zip(carried, counts, strict=True) if count > 1]


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def _grouping_keys(labels: Sequence[Labels]) -> list[str]:
    """Return the keys that all items have, without those that would make too many groups.

    The keys with the most values are dropped first.
    """
    keys = sorted(set.intersection(*(set(item) for item in labels)))
    keys.sort(key=lambda key: len({item[key] for item in labels}))
    while keys and len({tuple(item[key] for key in keys) for item in labels}) > min(MOST_GROUPS, len(labels) // 2):
        keys.pop()
    return sorted(keys)
