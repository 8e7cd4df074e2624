"""Encoders and decoders, bottom-up: blocks, then the halves of each architecture, then all by name.

Axis letters: B batch, F frequency bins, T frames, C channels, D latent dimensions. Inputs and outputs are
normalised spectrograms (B, F, T, 1) in [0, 1]. Sampling is not a layer: the caller of the encoder
draws the noise, so that each spectrogram can have its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from wavemill.errors import ModelError
from wavemill.keras_seam import keras, layers
from wavemill.vae.network import spectra

Config = Mapping[str, Any]
Tensor = Any  # keras.KerasTensor; keras publishes no types


def pad_to_multiple(x: Tensor, multiple: tuple[int, int]) -> Tensor:
    """Zero-pad above the highest bin and after the last frame, to multiples of `multiple`."""
    n_bins, n_frames = x.shape[1], x.shape[2]
    extra = (-n_bins % multiple[0], -n_frames % multiple[1])
    return layers.ZeroPadding2D(((0, extra[0]), (0, extra[1])), name="pad")(x) if any(extra) else x


def crop_to(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo `pad_to_multiple`."""
    extra = (x.shape[1] - shape[0], x.shape[2] - shape[1])
    return layers.Cropping2D(((0, extra[0]), (0, extra[1])), name="crop")(x) if any(extra) else x


def latent_heads(x: Tensor, *, kind: str, latent_dim: int) -> list[Tensor]:
    """(B, features) -> [mean, log variance], or [latents] for a plain autoencoder."""
    mean = layers.Dense(latent_dim, name="mean")(x)
    return [mean, layers.Dense(latent_dim, name="log_variance")(x)] if kind == "vae" else [mean]


# ---- course: mirrored convolutions, each followed by ReLU and then batch norm -----------------------------------


def course_block(x: Tensor, convolution: layers.Layer, name: str) -> Tensor:
    """Apply convolution -> ReLU -> batch norm, in the course's order."""
    x = layers.ReLU(name=f"{name}_relu")(convolution(x))
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def course_encoder(shape: tuple[int, int], kind: str, latent_dim: int, config: Config) -> keras.Model:
    """Strided convolutions, then one dense layer for each output."""
    inputs = layers.Input((*shape, 1), name="spectrogram")
    x = pad_to_multiple(inputs, _total_stride(config))
    for i, (filters, kernel, stride) in enumerate(_course_layers(config), start=1):
        x = course_block(x, layers.Conv2D(filters, kernel, stride, padding="same", name=f"conv{i}"), f"conv{i}")
    x = layers.Flatten(name="flatten")(x)  # (B, F/32, T/16, 32) -> (B, F/32 * T/16 * 32)
    return keras.Model(inputs, latent_heads(x, kind=kind, latent_dim=latent_dim), name="encoder")


def course_decoder(shape: tuple[int, int], latent_dim: int, config: Config) -> keras.Model:
    """Mirror the encoder; the last transposed convolution has one filter and a sigmoid."""
    plan = _course_layers(config)
    stride = _total_stride(config)
    grid = (ceil(shape[0] / stride[0]), ceil(shape[1] / stride[1]), plan[-1][0])
    inputs = layers.Input((latent_dim,), name="latents")
    x = layers.Dense(grid[0] * grid[1] * grid[2], name="dense")(inputs)
    x = layers.Reshape(grid, name="grid")(x)  # (B, features) -> (B, F/32, T/16, 32)
    for i, (filters, kernel, step) in reversed(list(enumerate(plan[1:], start=2))):
        deconv = layers.Conv2DTranspose(filters, kernel, step, padding="same", name=f"deconv{i}")
        x = course_block(x, deconv, f"deconv{i}")
    _, kernel, step = plan[0]
    x = layers.Conv2DTranspose(1, kernel, step, padding="same", name="deconv1")(x)
    x = layers.Activation("sigmoid", name="sigmoid")(crop_to(x, shape))
    return keras.Model(inputs, x, name="decoder")


def _course_layers(config: Config) -> list[tuple[int, int, tuple[int, int]]]:
    return [
        (f, k, (s[0], s[1])) for f, k, s in zip(config["filters"], config["kernels"], config["strides"], strict=True)
    ]


def _total_stride(config: Config) -> tuple[int, int]:
    bins = frames = 1
    for stride in config["strides"]:
        bins, frames = bins * stride[0], frames * stride[1]
    return bins, frames


# ---- residual: outer layers on 4 x 4 patches, inner layers on a sequence of whole spectra ----
# A vowel is a pattern over all frequencies, so the inner layers fold the frequency axis into
# channels and convolve over time only. There the dense bottleneck of an ordinary image network
# loses detail.


def residual_block(x: Tensor, *, kernel: tuple[int, int], name: str) -> Tensor:
    """Return x + conv(silu(conv(silu(x)))).

    The last kernel starts at zero, so that a deep stack needs no normalisation.
    """
    filters = x.shape[-1]
    y = layers.Activation("silu", name=f"{name}_act1")(x)
    y = layers.Conv2D(filters, kernel, padding="same", name=f"{name}_conv1")(y)
    y = layers.Activation("silu", name=f"{name}_act2")(y)
    y = layers.Conv2D(filters, kernel, padding="same", kernel_initializer="zeros", name=f"{name}_conv2")(y)
    return layers.Add(name=f"{name}_sum")([x, y])


def residual_stack(x: Tensor, depth: int, *, kernel: tuple[int, int], name: str) -> Tensor:
    """Apply `depth` residual blocks in sequence."""
    for i in range(1, depth + 1):
        x = residual_block(x, kernel=kernel, name=f"{name}{i}")
    return x


def _shrunk(x: Tensor, config: Config) -> Tensor:
    """Patches -> halve, with residual blocks at both sizes: (B, F, T, 1) -> (B, F/8, T/8, C2)."""
    x = pad_to_multiple(x, (8, 8))
    x = layers.Conv2D(config["fine"], 8, 4, padding="same", name="patches")(x)  # -> (B, F/4, T/4, C1)
    x = residual_stack(x, config["encoder_depth"], kernel=(3, 3), name="fine")
    x = layers.Conv2D(config["coarse"], 4, 2, padding="same", name="halve")(x)
    return residual_stack(x, config["encoder_depth"], kernel=(3, 3), name="coarse")


def _grown(x: Tensor, shape: tuple[int, int], config: Config) -> Tensor:
    """Mirror `_shrunk`: (B, F/8, T/8, C2) -> (B, F, T, 1), in [0, 1]."""
    x = residual_stack(x, config["decoder_depth"], kernel=(3, 3), name="coarse")
    x = layers.Conv2DTranspose(config["fine"], 4, 2, padding="same", name="double")(x)  # -> (B, F/4, T/4, C1)
    x = residual_stack(x, config["decoder_depth"], kernel=(3, 3), name="fine")
    x = layers.Activation("silu", name="last_act")(x)
    x = layers.Conv2DTranspose(1, 8, 4, padding="same", name="pixels")(x)
    return layers.Activation("sigmoid", name="sigmoid")(crop_to(x, shape))


def residual_encoder(shape: tuple[int, int], kind: str, latent_dim: int, config: Config) -> keras.Model:
    """Patches -> halve -> fold frequency into channels -> convolve over time -> few channels -> dense."""
    inputs = layers.Input((*shape, 1), name="spectrogram")
    x = _shrunk(inputs, config)  # -> (B, F/8, T/8, C2)
    x = layers.Conv2D(config["frame"], (x.shape[1], 1), name="fold")(x)  # -> (B, 1, T/8, C3)
    x = residual_stack(x, config["frame_depth"], kernel=(1, 3), name="frame")
    x = layers.Conv2D(config["neck"], 1, name="neck")(x)  # -> (B, 1, T/8, C4)
    x = layers.Flatten(name="flatten")(x)  # -> (B, T/8 * C4)
    return keras.Model(inputs, latent_heads(x, kind=kind, latent_dim=latent_dim), name="encoder")


def residual_decoder(shape: tuple[int, int], latent_dim: int, config: Config) -> keras.Model:
    """Mirror the encoder, with twice the depth in the outer layers."""
    rows, columns = ceil(shape[0] / 8), ceil(shape[1] / 8)
    inputs = layers.Input((latent_dim,), name="latents")
    x = layers.Dense(columns * config["neck"], name="dense")(inputs)
    x = layers.Reshape((1, columns, config["neck"]), name="sequence")(x)  # (B, D) -> (B, 1, T/8, C4)
    x = layers.Conv2D(config["frame"], 1, name="widen")(x)  # -> (B, 1, T/8, C3)
    x = residual_stack(x, config["frame_depth"], kernel=(1, 3), name="frame")
    x = layers.Conv2DTranspose(config["coarse"], (rows, 1), name="unfold")(x)  # -> (B, F/8, T/8, C2)
    return keras.Model(inputs, _grown(x, shape, config), name="decoder")


# ---- spatial: convolutions throughout; the latent is a small picture, without a dense layer ----


def spatial_encoder(shape: tuple[int, int], kind: str, latent_dim: int, config: Config) -> keras.Model:
    """Patches -> halve -> a few channels for every 8 x 8 values, flattened."""
    inputs = layers.Input((*shape, 1), name="spectrogram")
    x = _shrunk(inputs, config)  # -> (B, F/8, T/8, C2)
    channels = _latent_grid(shape, latent_dim)[2]
    mean = layers.Conv2D(channels, 1, name="mean")(x)  # -> (B, F/8, T/8, C3)
    outputs = [layers.Flatten(name="mean_flat")(mean)]  # -> (B, D)
    if kind == "vae":
        log_variance = layers.Conv2D(channels, 1, name="log_variance")(x)
        outputs.append(layers.Flatten(name="log_variance_flat")(log_variance))
    return keras.Model(inputs, outputs, name="encoder")


def spatial_decoder(shape: tuple[int, int], latent_dim: int, config: Config) -> keras.Model:
    """Mirror the encoder."""
    inputs = layers.Input((latent_dim,), name="latents")
    x = layers.Reshape(_latent_grid(shape, latent_dim), name="grid")(inputs)  # (B, D) -> (B, F/8, T/8, C3)
    x = layers.Conv2D(config["coarse"], 3, padding="same", name="widen")(x)  # -> (B, F/8, T/8, C2)
    return keras.Model(inputs, _grown(x, shape, config), name="decoder")


def _latent_grid(shape: tuple[int, int], latent_dim: int) -> tuple[int, int, int]:
    rows, columns = ceil(shape[0] / 8), ceil(shape[1] / 8)
    channels, rest = divmod(latent_dim, rows * columns)
    if rest or not channels:
        raise ModelError(
            f"a spatial latent for {shape[0]} x {shape[1]} spectrograms is a picture of {rows} x {columns}: "
            f"expected a multiple of {rows * columns} numbers, received {latent_dim}"
        )
    return rows, columns, channels


# ---- by name ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named family of networks with its default sizes.

    One with a `prior` can be conditioned on labels; its functions take them as their last argument.
    """

    encoder: Callable[..., keras.Model]
    decoder: Callable[..., keras.Model]
    defaults: Config
    prior: Callable[..., keras.Model] | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "course": Architecture(
        encoder=course_encoder,
        decoder=course_decoder,
        defaults={
            "filters": [512, 256, 128, 64, 32],
            "kernels": [3, 3, 3, 3, 3],
            "strides": [[2, 2], [2, 2], [2, 2], [2, 2], [2, 1]],
        },
    ),
    "residual": Architecture(
        encoder=residual_encoder,
        decoder=residual_decoder,
        defaults={
            "fine": 32,
            "coarse": 64,
            "frame": 192,
            "neck": 64,
            "encoder_depth": 1,
            "decoder_depth": 2,
            "frame_depth": 2,
        },
    ),
    "spatial": Architecture(
        encoder=spatial_encoder,
        decoder=spatial_decoder,
        defaults={"fine": 32, "coarse": 96, "encoder_depth": 1, "decoder_depth": 2},
    ),
    "spectra": Architecture(
        encoder=spectra.spectra_encoder,
        decoder=spectra.spectra_decoder,
        prior=spectra.spectra_prior,
        defaults=spectra.DEFAULTS,
    ),
}
