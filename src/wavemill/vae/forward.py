"""Run one half of a network so that an item's result never depends on the items beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wavemill.errors import DeviceMemoryError, UsageError

FloatArray = NDArray[np.float32]

BATCH = 16  # items per call: bounds memory on a CPU, fills a small GPU
PARALLEL_ITEMS = 4  # on a CPU; TensorFlow's inter-op threads limit it further


class Forward:
    """A compiled forward pass, (batch, ...) -> one array per output.

    A GPU gets batches of one fixed padded shape. On a CPU even that is not enough: TensorFlow shares a batch out
    between threads, and an item on the seam is computed by another kernel, with another last bit. There each item is
    a batch of its own, several at a time; that costs a tenth and saves the padding.
    """

    def __init__(self, part: Any, *, on_gpu: bool | None = None) -> None:
        self._part = part
        self._item_shape = tuple(part.input_shape[1:])
        self._on_gpu = bool(tf.config.list_logical_devices("GPU")) if on_gpu is None else on_gpu
        size = BATCH if self._on_gpu else None
        signature = [tf.TensorSpec((size, *self._item_shape), tf.float32)]
        self._compiled = tf.function(self._whole if self._on_gpu else self._one_by_one, input_signature=signature)

    def __call__(self, items: FloatArray) -> list[FloatArray]:
        """Return every output for all `items`, float32 [shape=(batch, ...)], batch > 0.

        Raises
        ------
        DeviceMemoryError
            When the device has no memory left.
        """
        if not len(items):
            raise UsageError("expected at least one item, received an empty batch")
        chunks = [self._chunk(items[first : first + BATCH]) for first in range(0, len(items), BATCH)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _chunk(self, items: FloatArray) -> list[FloatArray]:
        padded = np.zeros((BATCH if self._on_gpu else len(items), *self._item_shape), np.float32)
        padded[: len(items)] = items
        with device_errors():
            return [output.numpy()[: len(items)] for output in self._compiled(tf.constant(padded))]

    def _whole(self, x: tf.Tensor) -> list[tf.Tensor]:
        outputs = self._part(x, training=False)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

    def _one_by_one(self, x: tf.Tensor) -> list[tf.Tensor]:
        return tf.map_fn(  # type: ignore[no-any-return]
            lambda item: [output[0] for output in self._whole(item[None])],
            x,
            parallel_iterations=PARALLEL_ITEMS,
            fn_output_signature=[tf.float32] * len(self._part.outputs),
        )


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn TensorFlow's out-of-memory error into ours, which is worth another try."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as exc:
        raise DeviceMemoryError(f"the device has no memory left for a forward pass: {exc.message[:200]}") from exc
