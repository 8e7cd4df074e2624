"""Figures of the latents that a model's encoder makes of the held-out recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.windows import Windows
from wavemill.vae.model import Model

ACTIVE_VARIANCE = 0.01


def latent_figures(model: Model, spectrograms_db: FloatArray) -> dict[str, Any]:
    """Return latent figures for (B, n_bins, n_frames) in dB.

    `active_dimensions` counts the dimensions whose posterior mean has a variance of more than 0.01
    between clips [1]_. `kl_nats` is the divergence from the standard normal distribution per clip;
    a plain autoencoder has none.

    References
    ----------
    .. [1] Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, section 3.
    """
    mean, log_variance = model.posterior(spectrograms_db)
    figures: dict[str, Any] = {
        "dimensions": int(mean.shape[1]),
        "active_dimensions": int((mean.var(axis=0) > ACTIVE_VARIANCE).sum()),
    }
    if log_variance is not None:
        figures["kl_nats"] = kl_nats(mean, log_variance)
    return figures


def first_frames(spectrograms: Sequence[FloatArray], n_frames: int) -> FloatArray:
    """Return the first frame of each spectrogram (F, frames), in dB -> (B, F, n_frames)."""
    return np.stack([Windows(n_frames=one.shape[1], size=n_frames).cut_one(one, 0) for one in spectrograms])


def kl_nats(mean: FloatArray, log_variance: FloatArray) -> float:
    """Return the mean KL divergence of diagonal Gaussians, (B, D), from the standard normal."""
    per_dimension = 0.5 * (np.square(mean) + np.exp(log_variance) - 1 - log_variance)
    return float(per_dimension.sum(axis=1).mean())
