"""What is kept about a model's training latents: one Gaussian over all, one per label, for sampling later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

RANK = 40  # directions kept of a covariance; 128 dimensions with ten digits stay under half a megabyte
MIN_COUNT = 8  # a label carried by fewer spectrograms says nothing about a distribution


def latent_statistics(
    latents: FloatArray, labels: Sequence[Mapping[str, str]], *, variances: FloatArray | None = None
) -> dict[str, FloatArray]:
    """Fit Gaussians to the latents of a training set.

    Parameters
    ----------
    latents : float32 [shape=(items, latent_dim)]
    labels : one mapping per item, such as {"digit": "7", "speaker": "george"}
    variances : float32 [shape=(items, latent_dim)], optional
        Each item's own posterior variance.

    Returns
    -------
    dict of float32
        `all/mean` (D,), `all/std` (D,), and for `all` and each label such as `digit=7`: `count` (), `mean` (D,),
        `factor` (r, D) and `residual` (D,), where the covariance is `factor.T @ factor + diag(residual)`;
        `posterior_variance` (D,) where the model has one.
    """
    statistics = {"all/std": latents.std(axis=0)}
    statistics |= _gaussian("all", latents)
    for label in sorted({f"{key}={value}" for item in labels for key, value in item.items()}):
        key, value = label.split("=", 1)
        chosen = latents[[item.get(key) == value for item in labels]]
        if MIN_COUNT <= len(chosen) < len(latents):
            statistics |= _gaussian(label, chosen)
    if variances is not None:
        statistics["posterior_variance"] = variances.mean(axis=0)
    return {name: np.asarray(value, dtype=np.float32) for name, value in statistics.items()}


def _gaussian(label: str, latents: FloatArray) -> dict[str, FloatArray]:
    mean = latents.mean(axis=0)
    centred = (latents - mean) / np.sqrt(max(len(latents) - 1, 1))
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    factor = singular[:RANK, None] * directions[:RANK]  # (r, D)
    residual = np.maximum((centred**2).sum(axis=0) - (factor**2).sum(axis=0), 0)
    count = np.float32(len(latents))
    return {
        f"{label}/count": np.asarray(count),
        f"{label}/mean": mean,
        f"{label}/factor": factor,
        f"{label}/residual": residual,
    }
