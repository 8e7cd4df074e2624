"""Count the weights that a network would have, before any memory is allocated for them.

Names and axis letters are those of `wavemill.vae.network.architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from wavemill.errors import ModelError
from wavemill.vae.conditions import Conditions

MOST_WEIGHTS = 2**27  # half a gigabyte; fsdd-vae has two million
MOST_LATENTS = 2**20
_MOST_FILTERS = 2**14
_MOST_DEPTH = 64  # residual blocks in a stack
_MOST_LAYERS = 16
_MOST_STEP = 64  # size of a kernel or a stride

Config = Mapping[str, Any]


def require_buildable(
    architecture: str,
    *,
    kind: str,
    shape: tuple[int, int],
    latent_dim: int,
    config: Config,
    most_weights: int,
    conditions: Conditions = (),
) -> None:
    """Raise ModelError for sizes that are not whole or out of bounds, or for too many weights."""
    _require_whole("latent_dim", latent_dim, least=1, most=MOST_LATENTS)
    (_require_course if architecture == "course" else _require_residual)(config)
    if architecture == "spectra":
        _require_steps(shape, latent_dim, config)
    n_weights = count_weights(
        architecture, kind=kind, shape=shape, latent_dim=latent_dim, config=config, conditions=conditions
    )
    if n_weights > most_weights:
        raise ModelError(
            f"a network of these sizes has {n_weights} weights, expected at most {most_weights}; choose smaller "
            "sizes, or restore the model's folder"
        )


def count_weights(
    architecture: str,
    *,
    kind: str,
    shape: tuple[int, int],
    latent_dim: int,
    config: Config,
    conditions: Conditions = (),
) -> int:
    """Return the number of weights of a network whose `config` is complete."""
    heads = 2 if kind == "vae" else 1
    if architecture == "spectra":
        return _count_spectra(shape, latent_dim, heads, config, conditions)
    if architecture == "course":
        return _count_course(shape, latent_dim, heads, config)
    rows, columns = ceil(shape[0] / 8), ceil(shape[1] / 8)
    fine, coarse = int(config["fine"]), int(config["coarse"])
    depth = int(config["encoder_depth"] + config["decoder_depth"])
    # patches, halve, double, pixels and the two stacks of pictures
    pictures = (64 * fine + fine) + 2 * 16 * fine * coarse + coarse + fine + (64 * fine + 1)
    pictures += depth * (_block(9, fine) + _block(9, coarse))
    if architecture == "spatial":
        channels = latent_dim // (rows * columns)
        return pictures + heads * (coarse + 1) * channels + (9 * channels + 1) * coarse
    frame, neck = int(config["frame"]), int(config["neck"])
    frames = 2 * rows * coarse * frame + frame + coarse + 2 * int(config["frame_depth"]) * _block(3, frame)
    necks = 2 * frame * neck + neck + frame
    flat = columns * neck
    return pictures + frames + necks + heads * (flat + 1) * latent_dim + (latent_dim + 1) * flat


def _count_course(shape: tuple[int, int], latent_dim: int, heads: int, config: Config) -> int:
    filters, kernels = [int(f) for f in config["filters"]], [int(kernel) ** 2 for kernel in config["kernels"]]
    rows, columns = shape
    bins = frames = 1
    for stride in config["strides"]:
        bins, frames = bins * stride[0], frames * stride[1]
    flat = ceil(rows / bins) * ceil(columns / frames) * filters[-1]
    encoder = sum(k * before * f + 5 * f for k, before, f in zip(kernels, [1, *filters], filters, strict=False))
    after = [*filters[1:], filters[-1]]  # input channels of each transposed convolution
    decoder = sum(k * a * f + 5 * f for k, a, f in zip(kernels[1:], after[1:], filters[1:], strict=True))
    last = kernels[0] * after[0] + 1
    return encoder + heads * (flat + 1) * latent_dim + (latent_dim + 1) * flat + decoder + last


def _count_spectra(shape: tuple[int, int], latent_dim: int, heads: int, config: Config, conditions: Conditions) -> int:
    sizes = {name: int(value) for name, value in config.items()}
    width, fine, channels, frames = sizes["width"], sizes["fine"], sizes["channels"], sizes["frames"]
    rows, per_step = shape[0], latent_dim // ceil(shape[1] / frames)
    time = (3 * width + 1) * width + (width + 1) * width
    encoder = (frames * rows + 1) * width + sizes["encoder_depth"] * time + heads * (width + 1) * per_step
    decoder = (per_step + 1) * width + sizes["decoder_depth"] * time + (width + 1) * rows * channels
    decoder += (channels + 1) * fine + sizes["fine_depth"] * ((9 + 3) * fine + 2) * fine + (fine + 1) * frames
    return encoder + decoder + (_count_conditioning(rows, latent_dim, sizes, conditions) if conditions else 0)


def _count_conditioning(rows: int, latent_dim: int, sizes: Mapping[str, int], conditions: Conditions) -> int:
    width, hidden, embedding = sizes["width"], sizes["hidden"], sizes["embedding"]
    choices = sum(condition.choices for condition in conditions)
    maps = rows * sizes["channels"]
    predicted = (width + 1) * hidden + (hidden + 1) * choices
    told = choices * embedding + len(conditions) * embedding + (embedding + 1) * 2 * embedding
    told += (2 * embedding + 1) * embedding + (embedding + 1) * width
    told += sizes["decoder_depth"] * (embedding + 1) * 2 * width
    told += (embedding + 1) * maps + choices * maps + (sizes["channels"] + 1) * 2 * sizes["fine"]
    prior = (choices + 1) * hidden + (hidden + 1) * hidden + 2 * (hidden + 1) * latent_dim
    return predicted + told + prior


def _require_steps(shape: tuple[int, int], latent_dim: int, config: Config) -> None:
    steps = ceil(shape[1] / int(config["frames"]))
    if latent_dim % steps:
        raise ModelError(
            f"a latent of architecture spectra has as many numbers for each of {steps} steps: expected a multiple of "
            f"{steps} numbers, received {latent_dim}"
        )


def _block(kernel: int, filters: int) -> int:
    return 2 * (kernel * filters + 1) * filters


def _require_residual(config: Config) -> None:
    for name, value in config.items():
        depth = name.endswith("depth")
        _require_whole(name, value, least=0 if depth else 1, most=_MOST_DEPTH if depth else _MOST_FILTERS)


def _require_course(config: Config) -> None:
    for name, values in config.items():
        if not isinstance(values, list | tuple) or not 0 < len(values) <= _MOST_LAYERS:
            raise ModelError(f"{name}: expected a list of 1 to {_MOST_LAYERS} sizes, received {str(values)[:40]}")
    if len({len(values) for values in config.values()}) > 1:
        raise ModelError("filters, kernels and strides: expected lists of one length")
    for number in config["filters"]:
        _require_whole("filters", number, least=1, most=_MOST_FILTERS)
    for stride in config["strides"]:
        if not isinstance(stride, list | tuple) or len(stride) != 2:
            raise ModelError(f"strides: expected pairs, received {str(stride)[:40]}")
    for number in [*config["kernels"], *(step for stride in config["strides"] for step in stride)]:
        _require_whole("kernels and strides", number, least=1, most=_MOST_STEP)


def _require_whole(name: str, value: object, *, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ModelError(f"{name}: expected a whole number from {least} to {most}, received {str(value)[:40]}")
