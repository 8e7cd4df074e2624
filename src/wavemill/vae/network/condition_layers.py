"""Small layers without weights: a condition's numbers as weights of its choices, and limited output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavemill.keras_seam import keras, layers

Tensor = Any


class Choices(layers.Layer):  # type: ignore[misc]  # keras publishes no types
    """Weights of a condition's choices that are >= 0 and sum to 1.

    A number gets two weights, for the knots on both sides of it, so that values between knots are
    interpolated. The weights of a category, which a morph of latents may have changed, are scaled
    to sum to 1.
    """

    def __init__(self, knots: Sequence[float] | None, **options: Any) -> None:
        super().__init__(**options)
        self._knots = None if knots is None else np.asarray(knots, np.float32)

    def call(self, numbers: Tensor) -> Tensor:
        """Return the weights (B, choices) of numbers (B, 1), or of a category's weights (B, choices)."""
        ops = keras.ops
        if self._knots is None:
            positive = ops.maximum(numbers, 0.0)
            return positive / ops.maximum(ops.sum(positive, axis=1, keepdims=True), 1e-6)
        steps = np.diff(self._knots)
        # How far the number has come on the way from each knot to the next, (B, knots - 1)
        passed = ops.clip((numbers - self._knots[:-1]) / steps, 0.0, 1.0)
        ones = ops.ones_like(numbers)
        return ops.concatenate([ones, passed], axis=1) - ops.concatenate([passed, ops.zeros_like(numbers)], axis=1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of `call`'s result."""
        return (shape[0], shape[1] if self._knots is None else len(self._knots))


class Predicted(layers.Layer):  # type: ignore[misc]
    """A condition's numbers from the logits of its choices: the inverse of `Choices`.

    A number is the mean of the likeliest knot and its neighbours, weighted by their probabilities.
    """

    def __init__(self, knots: Sequence[float] | None, **options: Any) -> None:
        super().__init__(**options)
        self._knots = None if knots is None else np.asarray(knots, np.float32)

    def call(self, logits: Tensor) -> Tensor:
        """Return the numbers, (B, 1), or a category's weights, (B, choices), of logits (B, choices)."""
        ops = keras.ops
        share = ops.softmax(logits)
        if self._knots is None:
            return share
        places = np.arange(len(self._knots), dtype=np.float32)
        likeliest = ops.cast(ops.argmax(logits, axis=1), "float32")[:, None]
        near = share * ops.cast(ops.abs(places - likeliest) <= 1, "float32")
        return ops.sum(near * self._knots, axis=1, keepdims=True) / ops.sum(near, axis=1, keepdims=True)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of `call`'s result."""
        return (shape[0], shape[1] if self._knots is None else 1)


class Limited(layers.Layer):  # type: ignore[misc]
    """Limits its input to [0, 1], but not in training. A limit never stops the gradient."""

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Return `x`, limited unless `training`."""
        return x if training else _limited(x)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return tuple(shape)


@keras.ops.custom_gradient  # type: ignore[untyped-decorator]
def _limited(x: Tensor) -> tuple[Tensor, Any]:
    """Limit `x` to [0, 1]; return it and its gradient, which is that of `x` itself."""
    return keras.ops.clip(x, 0.0, 1.0), lambda upstream: upstream
