"""Moves latents, step by step, so that the decoder draws a given spectrogram more closely.

An encoder maps what is like its training material well, and leaves an error on other material that
its decoder could avoid: of notes from another SoundFont, `gm-notes` draws 1.8 dB apart at the
encoder's latents and 1.5 dB after ten steps. Each step follows the gradient of the log-spectral
distance with Adam, from the encoder's latents on [1]_. What the decoder is told stays as it is.

Axis letters: B batch, F frequency bins, T frames, D latent dimensions, K numbers of conditions.

References
----------
.. [1] Kim, Wiseman, Miller, Sontag, Rush, "Semi-amortized variational autoencoders", 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.keras_seam import tf
from wavemill.vae.network.distance import spectral_distance
from wavemill.vae.network.forward import Forward

Tensor = Any

STEP = 0.12  # first step of each latent, as a share of the latents' root mean square; later ones are shorter
MEAN_DECAY = 0.5  # of Adam's averages; so few steps would hardly use the usual 0.9 and 0.999
SQUARE_DECAY = 0.95
_BATCH = 8  # clips at once; more take as long each, and the gradient needs 12 MB for each clip of `gm-notes`
_LEAST = 1e-12  # keeps a division by an average of 0 finite


class Refinement:
    """Refines latents for one decoder; may be called from several threads.

    An item's result does not depend on the rest of its batch (see `Forward`).
    """

    def __init__(self, decoder: Any, *, latent_dim: int) -> None:
        self._latent_dim = latent_dim
        step = _Step(decoder, latent_dim)
        self._step = Forward(step, probe=step.probe)

    def __call__(self, x: FloatArray, latents: FloatArray, *, steps: int) -> FloatArray:
        """Return better latents.

        Parameters
        ----------
        x : float32 [shape=(B, F, T, 1)], in [0, 1]
            What the decoder should draw.
        latents : float32 [shape=(B, D + K)]
            Where to start; the last K numbers are what the decoder is told.
        steps : int >= 0

        Returns
        -------
        float32 [shape=(B, D + K)]
        """
        target = x.reshape(len(x), -1)  # (B, F, T, 1) -> (B, F * T)
        z, told = latents[:, : self._latent_dim], latents[:, self._latent_dim :]
        length = np.sqrt(np.mean(np.square(z), axis=1, keepdims=True))  # (B, D) -> (B, 1)
        mean = square = np.zeros_like(z)
        for step in range(steps):
            rate = STEP * math.cos(math.pi / 2 * step / steps) / (1 - MEAN_DECAY ** (step + 1))
            scale = np.full_like(length, 1 / (1 - SQUARE_DECAY ** (step + 1)))
            state = [target, z, told, mean, square, np.float32(rate) * length, scale]
            z, mean, square = self._step(np.concatenate(state, axis=1))
        return np.concatenate([z, told], axis=1)


class _Step:
    """One step of Adam for `Forward`: a row is all that an item's step depends on, side by side."""

    def __init__(self, decoder: Any, latent_dim: int) -> None:
        self._decoder = decoder
        self._shape = tuple(decoder.output_shape[1:])
        n_told = decoder.input_shape[1] - latent_dim
        self._widths = [math.prod(self._shape), latent_dim, n_told, latent_dim, latent_dim, 1, 1]
        self.input_shape = (None, sum(self._widths))
        self.trainable_variables = decoder.trainable_variables
        self.non_trainable_variables = decoder.non_trainable_variables

    def probe(self) -> FloatArray:
        """Return rows of first steps. With averages that are not 0, the gradient's last bits would be lost in them."""
        widths = self._widths
        n_averages = widths[3] + widths[4]
        rows = np.random.default_rng(0).uniform(size=(_BATCH, sum(widths))).astype(np.float32)
        rows[:, -2 - n_averages : -2] = 0
        return rows

    def stateless_call(
        self, trainable: Sequence[Any], others: Sequence[Any], state: Tensor, *, training: bool
    ) -> tuple[list[Tensor], Sequence[Any]]:
        """Return the latents and both averages after the step, (B, D) each."""
        target, z, told, mean, square, rate, scale = tf.split(state, self._widths, axis=1)
        x = tf.reshape(target, (-1, *self._shape))
        with tf.GradientTape() as tape:
            tape.watch(z)
            latents = tf.concat([z, told], axis=1)
            y, _ = self._decoder.stateless_call(trainable, others, latents, training=training)
            distance = tf.reduce_sum(spectral_distance(x, y))  # each item's gradient is its own
        gradient = tape.gradient(distance, z)
        mean = MEAN_DECAY * mean + (1 - MEAN_DECAY) * gradient
        square = SQUARE_DECAY * square + (1 - SQUARE_DECAY) * tf.square(gradient)
        return [z - rate * mean / (tf.sqrt(square * scale) + _LEAST), mean, square], others
