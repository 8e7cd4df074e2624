"""One step of gradient descent, and the state that a step changes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError
from wavemill.keras_seam import keras, tf
from wavemill.vae.network.building import PRIOR_LOG_VARIANCE_RANGE, Encoded, Network
from wavemill.vae.network.spectra import expanded
from wavemill.vae.told import Told
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.losses import (
    PREDICTION_WEIGHT,
    kl_between,
    kl_divergence,
    prediction_loss,
    reconstruction_error,
    total_loss,
)

Tensors = tuple[Any, ...]  # numbers and known of a `Told`; empty without conditions

WARM_UP_STEPS = 200  # at most; a short training warms up for a twentieth of its steps
LEAST_WARM_UP_STEPS = 100  # after a warm-up of 9 steps the network only drew the average spectrogram
LAST_RATE = 0.02  # of the peak learning rate, at the end of the cosine
GRADIENT_NORM = 1.0
LOG_VARIANCE_RANGE = (-12.0, 6.0)  # large early steps must not overflow the exponential


class Trainer:
    """A network, its optimiser and the moving average of its weights."""

    def __init__(self, network: Network, config: TrainingConfig, *, total_steps: int) -> None:
        self.network, self.config = network, config
        self._trainable = network.trainable_variables()
        norm = None if config.objective == "course" else GRADIENT_NORM
        self._optimizer = keras.optimizers.Adam(learning_rate(config, total_steps), global_clipnorm=norm)
        self._optimizer.build(self._trainable)
        self._average = [tf.Variable(variable.value, trainable=False) for variable in self._trainable]
        self._n_values = int(np.prod(network.encoder.input_shape[1:]))
        self._compiled_step = tf.function(self._step, reduce_retracing=True)
        self._compiled_errors = tf.function(self._errors, reduce_retracing=True)

    def train_step(
        self, x: FloatArray, step: int, labels: Told | None = None, *, position: float | None = None
    ) -> dict[str, float]:
        """Update the weights once; `step` counts from 0 and seeds the noise.

        `labels` are those of the batch if the network is conditioned. `position`, from 0 to 1, is how
        much of a training with a time limit has passed.
        """
        if position is not None:
            self._optimizer.learning_rate.assign(paced_learning_rate(self.config, step, position))
        seed = tf.constant([self.config.seed, step])
        values = self._compiled_step(tf.constant(x), _tensors(labels), seed, tf.constant(self._decay(step)))
        return {name: float(value) for name, value in values.items()}

    def measured_step_s(self, x: FloatArray, labels: Told | None) -> float:
        """Return the time of a step in seconds: take one to compile it and two more, and undo them."""
        before = self.state()
        self.train_step(x, 0, labels)
        started = time.perf_counter()
        for step in (1, 2):
            self.train_step(x, step, labels)
        passed_s = time.perf_counter() - started
        self.restore(before)
        return passed_s / 2

    def errors(self, x: FloatArray, labels: Told | None = None) -> FloatArray:
        """Return each item's reconstruction error at the latent mean, (B,), told the labels that are known."""
        return np.asarray(self._compiled_errors(tf.constant(x), _tensors(labels)))

    def mean_error(self, batches: Iterable[FloatArray], labels: Told | None) -> float:
        """Return the mean error of batches in order; `labels` are those of all their items."""
        errors, first = [], 0
        for x in batches:
            errors.append(self.errors(x, labels and labels.take(slice(first, first + len(x)))))
            first += len(x)
        return float(np.concatenate(errors).mean())

    def swap_average(self) -> None:
        """Swap the weights with their moving average; call it before and after a validation."""
        if not self.config.average_decay:
            return
        for variable, average in zip(self._trainable, self._average, strict=True):
            held = variable.numpy().copy()
            variable.assign(average)
            average.assign(held)

    def state(self) -> dict[str, FloatArray]:
        """Return everything that the next step depends on."""
        return {name: variable.numpy().copy() for name, variable in self._state_variables().items()}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Restore what `state` returned; ModelError when it belongs to another network."""
        variables = self._state_variables()
        if set(state) != set(variables) or any(state[n].shape != tuple(v.shape) for n, v in variables.items()):
            raise ModelError(
                "the checkpoint is of another network or another version of wavemill; give the same options, or start "
                "without --resume"
            )
        for name, variable in variables.items():
            variable.assign(state[name])

    def _state_variables(self) -> dict[str, Any]:
        numbered = {f"optimizer/{i}": variable for i, variable in enumerate(self._optimizer.variables)}
        numbered |= {f"average/{i}": variable for i, variable in enumerate(self._average)}
        return self.network.variables() | numbered

    def _decay(self, step: int) -> float:
        # Average over few steps at first, so that the random initial weights are soon forgotten.
        return min(self.config.average_decay, (1 + step) / (10 + step))

    def _step(self, x: tf.Tensor, labels: Tensors, seed: tf.Tensor, decay: tf.Tensor) -> dict[str, tf.Tensor]:
        config = self.config
        with tf.GradientTape() as tape:
            encoded = Encoded.of(self.network, self.network.encode(x, training=True))
            told = self._told(encoded, labels, seed)
            latents, kl = self._latents(encoded, told, seed)
            y = self.network.decoder(latents if told is None else tf.concat([latents, told], axis=1), training=True)
            error = reconstruction_error(config.objective, x, y)
            loss = total_loss(config.objective, error, kl, beta=config.beta, n_values=self._n_values)
            loss += PREDICTION_WEIGHT * self._prediction_loss(encoded, labels)
        gradients = tape.gradient(loss, [variable.value for variable in self._trainable])
        self._optimizer.apply(gradients, self._trainable)
        for variable, average in zip(self._trainable, self._average, strict=True):
            average.assign(decay * average + (1 - decay) * variable.value)
        return {"loss": loss, "error": tf.reduce_mean(error), "kl": tf.reduce_mean(kl)}

    def _told(self, encoded: Encoded, labels: Tensors, seed: tf.Tensor) -> tf.Tensor | None:
        """Return the conditions' numbers, (B, K): an item's labels, or for some what the encoder predicts."""
        if encoded.predicted is None:
            return None
        is_told = tf.random.stateless_uniform((tf.shape(encoded.mean)[0], 1), seed + 2) < self.config.told_share
        return self._chosen(encoded, labels, tf.cast(is_told, tf.float32))

    def _chosen(self, encoded: Encoded, labels: Tensors, share: tf.Tensor | float) -> tf.Tensor:
        numbers, known = labels
        widths = [condition.width for condition in self.network.conditions]
        is_own = tf.repeat(known, widths, axis=1) * share
        return is_own * numbers + (1 - is_own) * tf.stop_gradient(encoded.predicted)

    def _latents(self, encoded: Encoded, told: tf.Tensor | None, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, log_variance = encoded.mean, encoded.log_variance
        if log_variance is None:
            return mean, tf.zeros(tf.shape(mean)[0])
        log_variance = tf.clip_by_value(log_variance, *LOG_VARIANCE_RANGE)
        noise = tf.random.stateless_normal(tf.shape(mean), seed)
        is_noisy = tf.random.stateless_uniform((tf.shape(mean)[0], 1), seed + 1) >= self.config.noiseless_share
        noise *= tf.cast(is_noisy, tf.float32)
        latents = mean + tf.exp(log_variance / 2) * noise
        if told is None:
            return latents, kl_divergence(mean, log_variance)
        prior_mean, prior_log_variance = self.network.prior(told, training=True)  # type: ignore[misc]
        prior_log_variance = tf.clip_by_value(prior_log_variance, *PRIOR_LOG_VARIANCE_RANGE)
        return latents, kl_between(mean, log_variance, prior_mean, prior_log_variance)

    def _prediction_loss(self, encoded: Encoded, labels: Tensors) -> tf.Tensor | float:
        if encoded.predicted is None:
            return 0.0
        numbers, known = labels
        choices = expanded(numbers, self.network.conditions)
        losses = [
            prediction_loss(logits, chosen, known[:, i])
            for i, (logits, chosen) in enumerate(zip(encoded.logits, choices, strict=True))
        ]
        return tf.add_n(losses)

    def _errors(self, x: tf.Tensor, labels: Tensors) -> tf.Tensor:
        encoded = Encoded.of(self.network, self.network.encode(x, training=False))
        latents = encoded.mean
        if encoded.predicted is not None:
            latents = tf.concat([latents, self._chosen(encoded, labels, 1.0)], axis=1)
        return reconstruction_error(self.config.objective, x, self.network.decoder(latents, training=False))


def _tensors(labels: Told | None) -> Tensors:
    return () if labels is None else (tf.constant(labels.numbers), tf.constant(labels.known))


def learning_rate(config: TrainingConfig, total_steps: int) -> Any:
    """Return the learning rate: a number, or Keras's linear rise followed by a cosine decay."""
    if config.schedule == "constant" or config.max_minutes:
        return config.learning_rate
    rise = warm_up_steps(total_steps)
    return keras.optimizers.schedules.CosineDecay(
        config.learning_rate / rise,
        max(1, total_steps - rise),
        alpha=LAST_RATE,
        warmup_target=config.learning_rate,
        warmup_steps=rise,
    )


def paced_learning_rate(config: TrainingConfig, step: int, position: float) -> float:
    """Return the learning rate of a step at `position` of a training with a time limit, from 0 to 1."""
    risen = min(1.0, (step + 1) / LEAST_WARM_UP_STEPS)
    if config.schedule == "constant":
        return config.learning_rate * risen
    fallen = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * min(position, 1.0))) / 2
    return config.learning_rate * risen * fallen


def warm_up_steps(total_steps: int) -> int:
    """Return the number of steps in which the learning rate rises, at most half of all steps."""
    rise = min(WARM_UP_STEPS, max(LEAST_WARM_UP_STEPS, total_steps // 20))
    return max(1, min(rise, total_steps // 2))
