"""Count the weights that a network would have, before any memory is allocated for them.

Names and axis letters are those of `wavemill.vae.network.architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from wavemill.errors import ModelError

MOST_WEIGHTS = 2**27  # half a gigabyte; fsdd-vae has two million
MOST_LATENTS = 2**20
_MOST_FILTERS = 2**14
_MOST_DEPTH = 64  # residual blocks in a stack
_MOST_LAYERS = 16
_MOST_STEP = 64  # size of a kernel or a stride

Config = Mapping[str, Any]


def require_buildable(
    architecture: str, *, kind: str, shape: tuple[int, int], latent_dim: int, config: Config, most_weights: int
) -> None:
    """Raise ModelError for sizes that are not whole or out of bounds, or for too many weights."""
    _require_whole("latent_dim", latent_dim, least=1, most=MOST_LATENTS)
    (_require_course if architecture == "course" else _require_residual)(config)
    n_weights = count_weights(architecture, kind=kind, shape=shape, latent_dim=latent_dim, config=config)
    if n_weights > most_weights:
        raise ModelError(
            f"a network of these sizes has {n_weights} weights, expected at most {most_weights}; choose smaller "
            "sizes, or restore the model's folder"
        )


def count_weights(architecture: str, *, kind: str, shape: tuple[int, int], latent_dim: int, config: Config) -> int:
    """Return the number of weights of a network whose `config` is complete."""
    heads = 2 if kind == "vae" else 1
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
