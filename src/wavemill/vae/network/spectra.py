"""The architecture `spectra`: layers over time whose channels are whole spectra, and a fine last stage.

A step is a few frames (8 by default) with all their bins. Each step has its own numbers in the latent, so
length costs in proportion. The decoder may be told labels (`wavemill.vae.conditions`): they scale
and shift its layers, and a map that is learnt for every bin puts harmonics where a pitch has them.

Axis letters: B batch, F frequency bins, T frames, S steps, P frames of a step, C channels,
D latent dimensions, K choices or numbers of conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from wavemill.keras_seam import keras, layers
from wavemill.vae.conditions import Condition, Conditions, Number, total_width
from wavemill.vae.network.condition_layers import Choices, Limited, Predicted

Config = Any
Tensor = Any

DEFAULTS = {
    "frames": 8,  # of a step
    "width": 384,
    "encoder_depth": 4,
    "decoder_depth": 4,
    "channels": 8,  # of each bin of a step, before the fine stage
    "fine": 16,
    "fine_depth": 1,
    "embedding": 64,  # of the conditions
    "hidden": 256,  # units of the small dense layers: what predicts conditions, and the prior
}


def spectra_encoder(
    shape: tuple[int, int], kind: str, latent_dim: int, config: Config, conditions: Conditions = ()
) -> keras.Model:
    """Dense over each step's bins -> convolutions over time -> a few numbers a step.

    With conditions, it also returns the logits of each one's choices, and the numbers that they predict.
    """
    steps, frames = n_steps(shape, config), config["frames"]
    inputs = layers.Input((*shape, 1), name="spectrogram")
    x = layers.Reshape(shape, name="flat")(inputs)  # -> (B, F, T)
    x = layers.Permute((2, 1), name="turn")(x)  # -> (B, T, F)
    if extra := steps * frames - shape[1]:
        x = layers.ZeroPadding1D((0, extra), name="pad")(x)
    x = layers.Reshape((steps, frames * shape[0]), name="steps")(x)  # -> (B, S, P * F)
    x = layers.Dense(config["width"], name="spectra")(x)  # -> (B, S, C)
    for i in range(1, config["encoder_depth"] + 1):
        x = time_block(x, name=f"time{i}")
    x = layers.Activation("silu", name="last_act")(x)
    outputs = [layers.Flatten(name="mean_flat")(layers.Dense(latent_dim // steps, name="mean")(x))]  # -> (B, D)
    if kind == "vae":
        log_variance = layers.Dense(latent_dim // steps, name="log_variance")(x)
        outputs.append(layers.Flatten(name="log_variance_flat")(log_variance))
    if conditions:
        whole = layers.GlobalAveragePooling1D(name="over_time")(x)  # -> (B, C)
        whole = layers.Dense(config["hidden"], activation="silu", name="whole")(whole)
        logits = [layers.Dense(c.choices, name=f"condition{i}")(whole) for i, c in enumerate(conditions)]
        predicted = [
            Predicted(_knots(c), name=f"predicted{i}")(x)
            for i, (c, x) in enumerate(zip(conditions, logits, strict=True))
        ]
        outputs += [*logits, layers.Concatenate(name="predicted")([*predicted, predicted[0][:, :0]])]
    return keras.Model(inputs, outputs, name="encoder")


def spectra_decoder(
    shape: tuple[int, int], latent_dim: int, config: Config, conditions: Conditions = ()
) -> keras.Model:
    """Mirror the encoder, then mix neighbouring bins at full resolution in frequency."""
    steps, frames, fine = n_steps(shape, config), config["frames"], config["fine"]
    inputs = layers.Input((latent_dim + total_width(conditions),), name="latents")
    x = layers.Reshape((steps, latent_dim // steps), name="sequence")(inputs[:, :latent_dim])  # -> (B, S, D / S)
    x = layers.Dense(config["width"], name="widen")(x)  # -> (B, S, C)
    told = embedding = None
    if conditions:
        told = expanded(inputs[:, latent_dim:], conditions)  # -> [(B, K)] for each condition
        embedding = _embedding(told, config)
        x = x + layers.Reshape((1, config["width"]), name="start_row")(
            layers.Dense(config["width"], name="start")(embedding)
        )
    for i in range(1, config["decoder_depth"] + 1):
        x = time_block(x, embedding, name=f"time{i}")
    x = layers.Activation("silu", name="bins_act")(x)
    x = layers.Dense(shape[0] * config["channels"], name="bins")(x)
    x = layers.Reshape((steps, shape[0], config["channels"]), name="picture")(x)  # -> (B, S, F, C)
    x = layers.Dense(fine, name="fine")(x)
    if told is not None:
        x = _with_map(x, told, embedding, config)
    for i in range(1, config["fine_depth"] + 1):
        x = bin_block(x, name=f"fine{i}")
    x = layers.Activation("silu", name="last_act")(x)
    x = layers.Dense(frames, name="pixels")(x)  # -> (B, S, F, P)
    x = layers.Permute((2, 1, 3), name="turn")(x)  # -> (B, F, S, P)
    x = layers.Reshape((shape[0], steps * frames, 1), name="frames")(x)[:, :, : shape[1]]  # -> (B, F, T, 1)
    return keras.Model(inputs, Limited(name="limited")(x), name="decoder")


def spectra_prior(latent_dim: int, config: Config, conditions: Conditions) -> keras.Model:
    """Conditions (B, K) -> mean and log variance of the latents that clips with them have, (B, D) each."""
    inputs = layers.Input((total_width(conditions),), name="conditions")
    x = layers.Concatenate(name="told")([*expanded(inputs, conditions), inputs[:, :0]])
    x = layers.Dense(config["hidden"], activation="silu", name="hidden1")(x)
    x = layers.Dense(config["hidden"], activation="silu", name="hidden2")(x)
    outputs = [layers.Dense(latent_dim, name="mean")(x)]
    outputs.append(layers.Dense(latent_dim, kernel_initializer="zeros", name="log_variance")(x))
    return keras.Model(inputs, outputs, name="prior")


def n_steps(shape: tuple[int, int], config: Config) -> int:
    """Return the number of steps of a spectrogram."""
    return ceil(shape[1] / int(config["frames"]))


def time_block(x: Tensor, embedding: Tensor | None = None, *, name: str) -> Tensor:
    """Return x + dense(silu(conv(silu(x)))), over time; an embedding scales and shifts what is inside."""
    y = layers.Activation("silu", name=f"{name}_act1")(x)
    y = layers.Conv1D(x.shape[-1], 3, padding="same", name=f"{name}_conv")(y)
    if embedding is not None:
        y = _scaled(y, layers.Reshape((1, -1), name=f"{name}_row")(_dense_from_zero(embedding, y, name=f"{name}_told")))
    y = layers.Activation("silu", name=f"{name}_act2")(y)
    return x + layers.Dense(x.shape[-1], kernel_initializer="zeros", name=f"{name}_dense")(y)


def bin_block(x: Tensor, *, name: str) -> Tensor:
    """Return x + conv(silu(conv(silu(x)))) over steps and bins, (B, S, F, C)."""
    y = layers.Activation("silu", name=f"{name}_act1")(x)
    y = layers.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_conv1")(y)
    y = layers.Activation("silu", name=f"{name}_act2")(y)
    return x + layers.Conv2D(x.shape[-1], (1, 3), padding="same", kernel_initializer="zeros", name=f"{name}_conv2")(y)


def expanded(numbers: Tensor, conditions: Sequence[Condition]) -> list[Tensor]:
    """Split the conditions' numbers (B, K), and spread each number over its knots."""
    parts, first = [], 0
    for i, condition in enumerate(conditions):
        part = numbers[:, first : first + condition.width]
        first += condition.width
        parts.append(Choices(_knots(condition), name=f"choices{i}")(part))
    return parts


def _knots(condition: Condition) -> tuple[float, ...] | None:
    return condition.knots if isinstance(condition, Number) else None


def _embedding(told: Sequence[Tensor], config: Config) -> Tensor:
    parts = [layers.Dense(config["embedding"], name=f"embedding{i}")(part) for i, part in enumerate(told)]
    x = sum(parts[1:], parts[0])
    y = layers.Dense(2 * config["embedding"], activation="silu", name="embedding_hidden")(x)
    x = x + layers.Dense(config["embedding"], kernel_initializer="zeros", name="embedding_out")(y)
    return layers.Activation("silu", name="embedding_act")(x)


def _with_map(x: Tensor, told: Sequence[Tensor], embedding: Tensor, config: Config) -> Tensor:
    """Scale and shift every bin's channels, (B, S, F, C), by maps of all conditions and of each number alone."""
    n_bins, channels = x.shape[2], config["channels"]
    shape = (1, n_bins, channels)
    bins = layers.Reshape(shape, name="map_bins")(layers.Dense(n_bins * channels, name="map")(embedding))
    for i, part in enumerate(told):
        own = layers.Dense(n_bins * channels, use_bias=False, name=f"map{i}")(part)
        bins = bins + layers.Reshape(shape, name=f"map{i}_bins")(own)
    return _scaled(x, layers.Dense(2 * x.shape[-1], name="map_told")(bins))


def _dense_from_zero(embedding: Tensor, x: Tensor, *, name: str) -> Tensor:
    return layers.Dense(2 * x.shape[-1], kernel_initializer="zeros", name=name)(embedding)


def _scaled(x: Tensor, told: Tensor) -> Tensor:
    """Return x * (1 + gain) + shift, where `told` is gain and shift side by side."""
    channels = x.shape[-1]
    return x * (1 + told[..., :channels]) + told[..., channels:]
