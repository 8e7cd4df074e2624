"""Run an encoder or a decoder so that an item's result does not depend on the rest of its batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.cores import available_cores
from wavemill.errors import DeviceMemoryError, UsageError
from wavemill.keras_seam import tf

BATCH = 32  # items per call; with 16 the same work takes some 10 % longer, with 8 longer still
_SIZES = (BATCH, 16, 8, 4, 2, 1)  # smaller sizes save padding when there are few items


class Forward:
    """A compiled forward pass, (batch, ...) -> one array per output; may be called from several threads.

    The weights are fixed at the first call; later changes to them have no effect.

    On a CPU each operation uses one thread (see `keep_operations_on_one_thread`) and several
    batches run in parallel. An item then gets the same bits at every place of a batch, for several
    batch sizes. Which sizes depends on the machine's kernels, so the first call finds out. A single
    item often takes another kernel (matrix times vector); it is then padded to a batch of two.
    Where operations split their work between threads, items near a split differ in their last bits,
    so every item becomes a batch of its own, at twice the cost.

    A GPU gets batches of one fixed, padded size, one after the other. When they do not fit into its
    memory, the size is halved for this and all later calls, and last bits may differ from earlier
    ones. This has never been run on a GPU.
    """

    def __init__(self, part: Any, *, on_gpu: bool | None = None, probe: Callable[[], FloatArray] | None = None) -> None:
        self._part = part
        self._probe = probe or self._random  # returns items for `sizes` to try, as many as the largest batch has
        self._item_shape = tuple(part.input_shape[1:])
        self._on_gpu = bool(tf.config.list_logical_devices("GPU")) if on_gpu is None else on_gpu
        self._compiled = tf.function(
            self._outputs, input_signature=[tf.TensorSpec((None, *self._item_shape), tf.float32)]
        )
        self._gpu = threading.Lock()
        self._gpu_size = BATCH

    def __call__(self, items: FloatArray) -> list[FloatArray]:
        """Return every output for all `items`, float32 [shape=(batch, ...)], batch > 0.

        Raises
        ------
        UsageError
            When there are no items, or they have the wrong shape.
        DeviceMemoryError
            When the device has no memory for even one item.
        """
        if not len(items):
            raise UsageError("expected at least one item, received an empty batch")
        if items.shape[1:] != self._item_shape:  # TensorFlow also raises, but never releases a lock
            raise UsageError(f"expected items of shape {self._item_shape}, received {items.shape[1:]}")
        return self._on_one_gpu(items) if self._on_gpu else self._side_by_side(items, self.sizes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes at which a CPU gives an item the same bits at every place, largest first."""
        if not operations_are_on_one_thread():
            return (1,)
        probe = self._probe()
        whole = self._run(probe)
        if not _equal(self._run(probe[::-1]), [output[::-1] for output in whole]):
            return (1,)
        sizes = [n for n in _SIZES if n <= len(probe)]
        return tuple(n for n in sizes if _equal(self._run(probe[-n:]), [output[-n:] for output in whole]))

    def _random(self) -> FloatArray:
        return np.random.default_rng(0).uniform(size=(BATCH, *self._item_shape)).astype(np.float32)

    def _side_by_side(self, items: FloatArray, sizes: Sequence[int]) -> list[FloatArray]:
        chosen = list(split(len(items), sizes))
        padded = self._padded(items, sum(chosen))
        batches = [padded[end - size : end] for size, end in zip(chosen, accumulate(chosen), strict=True)]
        n_threads = min(len(batches), tf.config.threading.get_inter_op_parallelism_threads() or available_cores())
        if n_threads == 1:
            return _joined(map(self._run, batches), len(items))
        with ThreadPoolExecutor(n_threads) as pool:
            return _joined(pool.map(self._run, batches), len(items))

    def _on_one_gpu(self, items: FloatArray) -> list[FloatArray]:
        with self._gpu:
            while True:
                size = self._gpu_size
                padded = self._padded(items, -(-len(items) // size) * size)
                try:
                    return _joined((self._run(padded[i : i + size]) for i in range(0, len(padded), size)), len(items))
                except DeviceMemoryError:
                    if size == 1:
                        raise
                    self._gpu_size = size // 2

    def _padded(self, items: FloatArray, n: int) -> FloatArray:
        if len(items) == n:
            return items
        return np.concatenate([items, np.zeros((n - len(items), *self._item_shape), np.float32)])

    def _run(self, batch: FloatArray) -> list[FloatArray]:
        with device_errors():
            return [output.numpy() for output in self._compiled(tf.constant(batch, tf.float32))]

    def _outputs(self, x: tf.Tensor) -> list[tf.Tensor]:
        with tf.init_scope():  # read once: constants are converted to bfloat16 once, not in each call
            trainable = [variable.numpy() for variable in self._part.trainable_variables]
            others = [variable.numpy() for variable in self._part.non_trainable_variables]
        outputs, _ = self._part.stateless_call(trainable, others, x, training=False)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def split(n: int, sizes: Sequence[int]) -> Iterator[int]:
    """Yield batch sizes, largest first, that together hold `n` items; the last may need padding.

    Up to a quarter of a batch may be padding, which costs less than several small batches.
    """
    for size in sizes:
        while 4 * n > 3 * size:
            yield size
            n -= size
    if n > 0:
        yield sizes[-1]


def keep_operations_on_one_thread() -> None:
    """Limit each TensorFlow operation to one thread.

    Does nothing if a number of threads is already set, or TensorFlow is already initialised.
    """
    if not tf.config.threading.get_intra_op_parallelism_threads():
        with suppress(RuntimeError):  # already initialised; `Forward` checks the setting
            tf.config.threading.set_intra_op_parallelism_threads(1)


def operations_are_on_one_thread() -> bool:
    """Return whether each TensorFlow operation runs on one thread."""
    return bool(tf.config.threading.get_intra_op_parallelism_threads() == 1)


def use_mixed_precision() -> None:
    """Let TensorFlow multiply in bfloat16 on a CPU, or float16 on a GPU.

    Call it before the first forward pass. It helps on CPUs with bfloat16 instructions (AVX-512
    BF16, AMX) and may be slower on others. It has never been run on a GPU.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    name = "auto_mixed_precision" if on_gpu else "auto_mixed_precision_onednn_bfloat16"
    tf.config.optimizer.set_experimental_options({name: True})


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn TensorFlow's out-of-memory error into DeviceMemoryError, which callers may retry."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as exc:
        raise DeviceMemoryError(f"the device has no memory left for a forward pass: {exc.message[:200]}") from exc


def _equal(some: Sequence[FloatArray], others: Sequence[FloatArray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


def _joined(batches: Iterator[list[FloatArray]], n: int) -> list[FloatArray]:
    return [np.concatenate(parts)[:n] for parts in zip(*batches, strict=True)]
