"""Fits a trained network's prior, and says which labels can be sampled from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.duration import sounding_s
from wavemill.keras_seam import keras, tf
from wavemill.labels import SPLIT, Labels
from wavemill.presets import Features
from wavemill.vae.latents.conditional import ConditionalPrior
from wavemill.vae.latents.lengths import Lengths
from wavemill.vae.latents.prior import Prior, items_to_fit
from wavemill.vae.network.building import Encoded, Network
from wavemill.vae.network.scaling import Scheme
from wavemill.vae.told import over_numbers, told
from wavemill.vae.training.batches import Indices, SpectrogramSource, in_order, seeded_rng
from wavemill.vae.training.config import TrainingConfig

REFINING_STEPS = 1_500
REFINING_BATCH = 128
REFINING_RATE = 1e-3
REFINING_DECAY = 1e-4
_PAGE = 64
_NUMBERING = ("index", SPLIT)  # labels that say nothing about the sound


def fit_lengths(source: SpectrogramSource, training: Indices, features: Features) -> Lengths:
    """Return how long the training spectrograms sound, or a seeded selection of many."""
    items = training[items_to_fit([], 1, n_items=len(training))]
    pages = (items[first : first + _PAGE] for first in range(0, len(items), _PAGE))
    sounding = np.concatenate([sounding_s(source.read_db(page), features) for page in pages])
    every_label = source.labels
    labels = [{k: v for k, v in every_label[i].items() if k not in _NUMBERING} for i in items]
    return Lengths.fit(sounding, labels)


def fit_prior(
    network: Network, source: SpectrogramSource, training: Indices, scheme: Scheme, config: TrainingConfig
) -> Prior | ConditionalPrior:
    """Return a prior of the latents of the training spectrograms, or of a seeded selection of many."""
    every_label = source.labels
    labels = [{k: v for k, v in every_label[i].items() if k not in _NUMBERING} for i in training]
    chosen = items_to_fit([] if network.conditions else labels, config.latent_dim, n_items=len(labels))
    size, items = config.batch_size, training[chosen]
    encoded = [Encoded.of(network, network.encode(x, training=False)) for x in in_order(source, items, scheme, size)]
    latents = np.concatenate([np.asarray(one.mean) for one in encoded])
    pages = (items[first : first + size] for first in range(0, len(items), size))
    peak_db = np.concatenate([source.read_db(page).max(axis=(1, 2)) for page in pages])
    own = [labels[i] for i in chosen]
    if not network.conditions:
        return Prior.fit(latents, peak_db=peak_db, labels=own)
    predicted = np.concatenate([np.asarray(one.predicted) for one in encoded])
    numbers, known = told(network.conditions, own)
    numbers = np.where(over_numbers(known, network.conditions) > 0, numbers, predicted)
    refine_prior(network, numbers, latents, seed=config.seed)
    expected = np.concatenate(
        [np.asarray(network.prior(numbers[i : i + size], training=False)[0]) for i in range(0, len(items), size)]  # type: ignore[misc]
    )
    return ConditionalPrior.fit(network.conditions, latents - expected, peak_db=peak_db, labels=own)


def refine_prior(network: Network, numbers: FloatArray, latents: FloatArray, *, seed: int) -> None:
    """Train a network's prior alone, on the latents (N, D) of clips with these conditions' numbers (N, K).

    During the training of the whole network the prior also saw augmented clips. Its mean was that of
    notes shifted in time, which sounds blurred (docs/why.md).
    """
    variables = [variable for variable in network.prior.trainable_variables if "log_variance" not in variable.path]  # type: ignore[union-attr]
    optimizer = keras.optimizers.AdamW(REFINING_RATE, weight_decay=REFINING_DECAY)
    optimizer.build(variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(some: tf.Tensor, target: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            mean = network.prior(some, training=True)[0]  # type: ignore[misc]
            loss = tf.reduce_mean(tf.reduce_sum(tf.square(mean - target), axis=1))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)

    rng = seeded_rng(seed, 3)
    size = min(REFINING_BATCH, len(latents))
    for number in range(REFINING_STEPS):
        fallen = (1 + math.cos(math.pi * number / REFINING_STEPS)) / 2
        optimizer.learning_rate.assign(REFINING_RATE * fallen)
        chosen = rng.integers(len(latents), size=size)
        step(tf.constant(numbers[chosen], tf.float32), tf.constant(latents[chosen]))


def not_sampled(prior: Prior | ConditionalPrior, labels: Sequence[Labels]) -> dict[str, Any]:
    """Return which labels, and combinations of labels, cannot be sampled, and why, for the record."""
    said: dict[str, Any] = {}
    sampled = {*prior.labels, *(c.label for c in getattr(prior, "conditions", ()))}
    dropped = {}
    for label in sorted({key for item in labels for key in item} - sampled):
        dropped[label] = _reason(label, labels, conditioned=isinstance(prior, ConditionalPrior))
    if dropped:
        said["labels_not_sampled"] = dropped
    if prior.left_out:
        alone = [", ".join(f"{key} {value}" for key, value in item.items()) for item in prior.left_out]
        said["not_sampled_as_one_take_each"] = alone
    return said


def _reason(label: str, labels: Sequence[Labels], *, conditioned: bool) -> str:
    if label == "index":
        return "it only numbers the takes"
    if label == SPLIT:
        return "it divides the recordings for training and tests"
    if conditioned:
        return f"the decoder is not told it; add --condition {label}"
    values = [item[label] for item in labels if label in item]
    if len(values) < len(labels):
        return f"{len(labels) - len(values)} spectrograms lack it"
    return (
        f"with its {len(set(values))} values there are too many combinations; "
        f"--architecture spectra --condition {label} can sample it"
    )
