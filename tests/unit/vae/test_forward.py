from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from wavemill.arrays import FloatArray
from wavemill.errors import DeviceMemoryError, UsageError
from wavemill.vae.network.building import build_network
from wavemill.vae.network.forward import BATCH, Forward, device_errors, split, use_mixed_precision
from wavemill.vae.package import load_model

SHIPPED = Path(__file__).parents[3] / "models"


class Device:
    """A part of a network that doubles its input and notes the batch sizes it gets; memory for `most` items."""

    input_shape = (None, 3)
    trainable_variables: tuple[()] = ()
    non_trainable_variables: tuple[()] = ()

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def stateless_call(self, *weights: object, training: bool) -> tuple[tf.Tensor, list[object]]:
        *_, x = weights
        assert not training
        return tf.ensure_shape(tf.py_function(self._double, [x], tf.float32), (None, 3)), []

    def _double(self, x: tf.Tensor) -> tf.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise MemoryError("as TensorFlow says it: resource exhausted")
        return 2 * x


def items(n: int, *shape: int) -> FloatArray:
    return np.random.default_rng(n).uniform(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["fsdd-vae", "fsdd-ae", "fsdd-hifi"])
def test_the_shipped_models_give_an_item_the_same_bits_in_batches_of_many_sizes(name: str, part: str) -> None:
    forward = Forward(getattr(load_model(name, models_dir=SHIPPED).network, part))
    assert {BATCH, 8, 4, 2} <= set(forward.sizes)
    x = items(23, *forward._item_shape)
    together = forward(x)
    for these in (slice(0, 1), slice(22, 23), slice(3, 10), slice(None, None, -1)):
        for some, all_of_them in zip(forward(x[these]), together, strict=True):
            assert np.array_equal(some, all_of_them[these])


def test_the_course_architecture_gives_an_item_the_same_bits_in_batches_of_many_sizes() -> None:
    network = build_network("course", kind="vae", shape=(256, 64), latent_dim=16)
    for part in (network.encoder, network.decoder):
        forward = Forward(part)
        assert {BATCH, 8, 4, 2} <= set(forward.sizes)


def test_items_that_are_batches_of_their_own_give_the_same_numbers() -> None:
    encoder = load_model("fsdd-vae", models_dir=SHIPPED).network.encoder
    forward, one_by_one = Forward(encoder), Forward(encoder)
    one_by_one.sizes = (1,)
    x = items(5, 128, 128, 1)
    for some, others in zip(forward(x), one_by_one(x), strict=True):
        np.testing.assert_allclose(some, others, atol=1e-4)


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    before = tf.config.optimizer.get_experimental_options()
    use_mixed_precision()
    assert tf.config.optimizer.get_experimental_options() != before
    yield
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})


def test_mixed_precision_changes_little_and_gives_an_item_the_same_bits_everywhere(mixed_precision: None) -> None:
    model = load_model("fsdd-vae", models_dir=SHIPPED)
    decoder = model.network.decoder
    forward, x = Forward(decoder), items(11, model.latent_dim)
    (mixed,) = forward(x)
    assert np.array_equal(forward(x[4:7])[0], mixed[4:7])
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})
    (exact,) = Forward(decoder)(x)
    assert np.abs(mixed - exact).max() < 0.02  # of a range of 50 dB
    assert np.abs(mixed - exact).mean() < 0.002


def test_items_of_another_shape_are_refused_also_by_several_threads_at_once() -> None:
    model = load_model("fsdd-vae", models_dir=SHIPPED)
    with pytest.raises(UsageError, match=rf"expected items of shape \({model.latent_dim},\), received \(7,\)"):
        Forward(model.network.decoder)(items(40, 7))


def test_batches_hold_all_items_with_little_padding() -> None:
    assert list(split(64, (16, 8, 4, 2))) == [16] * 4
    assert list(split(15, (16, 8, 4, 2))) == [16]
    assert list(split(11, (16, 8, 4, 2))) == [8, 2, 2]
    assert list(split(1, (16, 8, 4, 2))) == [2]
    assert list(split(3, (1,))) == [1, 1, 1]


def test_a_gpu_gets_batches_of_one_size_padded() -> None:
    device = Device(most=BATCH)
    x = items(BATCH + 5, 3)
    (doubled,) = Forward(device, on_gpu=True)(x)
    assert np.array_equal(doubled, 2 * x)
    assert device.sizes == [BATCH, BATCH]


def test_a_gpu_whose_memory_is_short_gets_half_as_many_items_from_then_on() -> None:
    device = Device(most=BATCH // 4)
    forward = Forward(device, on_gpu=True)
    x = items(BATCH // 2, 3)
    (doubled,) = forward(x)
    assert np.array_equal(doubled, 2 * x)
    assert device.sizes == [BATCH, BATCH // 2, BATCH // 4, BATCH // 4]
    forward(x)
    assert device.sizes[4:] == [BATCH // 4, BATCH // 4]


def test_a_gpu_without_memory_for_one_item_is_a_transient_error() -> None:
    with pytest.raises(DeviceMemoryError, match="no memory"):
        Forward(Device(most=0), on_gpu=True)(items(2, 3))


def test_a_device_without_memory_is_a_transient_error() -> None:
    with pytest.raises(DeviceMemoryError, match="no memory"), device_errors():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
