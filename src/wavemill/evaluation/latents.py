"""Figures of the latents that a model's encoder makes of the held-out recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.windows import Windows
from wavemill.labels import Labels
from wavemill.vae.model import Model

ACTIVE_VARIANCE = 0.01
_ZERO = np.float32(0)

HOW = {
    "kl_nats": (
        "of each clip's latents from the model's prior, mean over clips: from the standard normal distribution, or for "
        "a model with conditions from the distribution that its own prior gives for the clip's labels"
    ),
}


def latent_figures(model: Model, spectrograms_db: FloatArray, labels: Sequence[Labels]) -> dict[str, Any]:
    """Return latent figures for (B, n_bins, n_frames) in dB, and the labels of each clip.

    `active_dimensions` counts the dimensions whose posterior mean has a variance of more than 0.01
    between clips [1]_; it is None for a single clip. `told` counts the numbers of the conditions,
    which follow the latents. `kl_nats` is the divergence from the model's prior per clip; a plain
    autoencoder has none.

    References
    ----------
    .. [1] Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", 2016, section 3.
    """
    mean, log_variance = model.posterior(spectrograms_db)
    figures: dict[str, Any] = {
        "dimensions": int(mean.shape[1]),
        "active_dimensions": int((mean.var(axis=0) > ACTIVE_VARIANCE).sum()) if len(mean) > 1 else None,
    }
    if model.told_dim:
        figures["told"] = model.told_dim
    if log_variance is not None:
        prior = _prior(model, spectrograms_db, labels) if model.told_dim else ()
        figures["kl_nats"] = kl_nats(mean, log_variance, *prior)
    return figures


def _prior(model: Model, spectrograms_db: FloatArray, labels: Sequence[Labels]) -> tuple[FloatArray, FloatArray]:
    """Return mean and log variance, (B, D) each, that a model's prior gives for what its decoder is told."""
    return model.expected_latents(model.encode(spectrograms_db, labels=labels, refine=0)[:, -model.told_dim :])


def first_frames(spectrograms: Sequence[FloatArray], n_frames: int) -> FloatArray:
    """Return the first frame of each spectrogram (F, frames), in dB -> (B, F, n_frames)."""
    return np.stack([Windows(n_frames=one.shape[1], size=n_frames).cut_one(one, 0) for one in spectrograms])


def kl_nats(
    mean: FloatArray,
    log_variance: FloatArray,
    prior_mean: FloatArray | np.float32 = _ZERO,
    prior_log_variance: FloatArray | np.float32 = _ZERO,
) -> float:
    """Return the mean KL divergence of diagonal Gaussians, (B, D), from others, by default the standard normal."""
    apart = (np.square(mean - prior_mean) + np.exp(log_variance)) / np.exp(prior_log_variance)
    per_dimension = 0.5 * (apart - 1 - (log_variance - prior_log_variance))
    return float(per_dimension.sum(axis=1).mean())
