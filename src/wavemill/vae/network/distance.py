"""The log-spectral distance between what a network should draw and what it draws."""

from __future__ import annotations

from typing import Any

from wavemill.keras_seam import tf

Tensor = Any  # tf.Tensor; tensorflow publishes no types

SILENT_WEIGHT = 0.1
LEAST_ERROR = 1e-6  # keeps logarithm and square root differentiable for a network that copies its input


def spectral_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the root mean square over bins, mean over frames, (B, F, T, 1) twice -> (B,).

    That is the log-spectral distance as a share of the network's range. A frame in which the target
    is silent counts a tenth. Where the target is 0, any `y` below 0 is right too, because the
    decoder's output is limited to [0, 1].
    """
    apart = tf.where(x > 0, x - y, tf.nn.relu(y))
    frames = tf.sqrt(tf.reduce_mean(tf.square(apart), axis=1)[..., 0] + LEAST_ERROR)  # -> (B, T)
    weights = tf.where(tf.reduce_max(x, axis=1)[..., 0] > 0, 1.0, SILENT_WEIGHT)
    return tf.reduce_sum(frames * weights, axis=1) / tf.reduce_sum(weights, axis=1)
