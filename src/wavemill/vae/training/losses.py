"""The losses that training minimises.

Axis letters: B batch, F frequency bins, T frames, D latent dimensions.

References
----------
.. [1] Kingma, Welling, "Auto-encoding variational Bayes", 2014.
.. [2] Rybkin, Daniilidis, Levine, "Simple and effective VAE training with calibrated decoders", 2021.
"""

from __future__ import annotations

from typing import Any

from wavemill.errors import UsageError
from wavemill.keras_seam import tf
from wavemill.vae.network.distance import LEAST_ERROR, spectral_distance

Tensor = Any  # tf.Tensor; tensorflow publishes no types

COURSE_WEIGHT = 1e6
QUIET_WEIGHT = 0.3  # weight of an error where the target is silent; 1.3 where it is loudest (docs/why.md)
PREDICTION_WEIGHT = 0.1  # of the cross entropies of the conditions


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) in nats, (B, D) -> (B,)."""
    return -0.5 * tf.reduce_sum(1 + log_variance - tf.square(mean) - tf.exp(log_variance), axis=1)


def kl_between(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(prior mean, prior variance)) in nats, (B, D) four times -> (B,)."""
    apart = (tf.exp(log_variance) + tf.square(mean - prior_mean)) / tf.exp(prior_log_variance)
    return 0.5 * tf.reduce_sum(prior_log_variance - log_variance + apart - 1, axis=1)


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared error, (B, F, T, 1) twice -> (B,)."""
    return tf.reduce_mean(tf.square(x - y), axis=(1, 2, 3))


def energy_weighted_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared error weighted by how loud the target `x` is, (B, F, T, 1) twice -> (B,)."""
    return tf.reduce_mean((QUIET_WEIGHT + x) * tf.square(x - y), axis=(1, 2, 3))


def prediction_loss(logits: Tensor, choices: Tensor, known: Tensor) -> Tensor:
    """Return the cross entropy of one condition where it is known, (B, choices) twice and (B,) -> ()."""
    entropies = tf.nn.softmax_cross_entropy_with_logits(choices, logits)
    return tf.reduce_sum(known * entropies) / tf.maximum(tf.reduce_sum(known), 1.0)


def reconstruction_error(objective: str, x: Tensor, y: Tensor) -> Tensor:
    """Return the reconstruction error of `objective`, (B,); early stopping watches it too."""
    if objective == "course":
        return squared_error(x, y)
    if objective == "calibrated":
        return energy_weighted_error(x, y)
    if objective == "distance":
        return spectral_distance(x, y)
    raise UsageError(f"there is no objective {objective!r}; choose course, calibrated or distance")


def total_loss(objective: str, error: Tensor, kl: Tensor, *, beta: float, n_values: int) -> Tensor:
    """Combine error and KL, (B,) each -> ().

    `course` is 1e6 times the error plus the KL. `calibrated` is the Gaussian likelihood at its
    optimal variance, which is the batch's own error per value of the spectrogram [2]_, so that
    `beta` is the only weight to tune. `distance` is the likelihood of a distance in the same way.
    """
    if objective == "course":
        return tf.reduce_mean(COURSE_WEIGHT * error + beta * kl)
    if objective == "distance":
        return tf.math.log(tf.reduce_mean(error)) + beta * tf.reduce_mean(kl) / n_values
    likelihood = 0.5 * tf.math.log(tf.maximum(tf.reduce_mean(error), LEAST_ERROR))
    return likelihood + beta * tf.reduce_mean(kl) / n_values
