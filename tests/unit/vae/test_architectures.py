from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wavemill.errors import ModelError
from wavemill.keras_seam import keras, layers
from wavemill.vae.network.building import build_network

COURSE_ENCODER_TRUNK = 1_576_288  # five convolutions and their batch norms, counted by hand from the course's sizes
HEAD = 1_024 * 128 + 128  # 8 x 4 x 32 values to 128 latents


def test_the_course_architecture_has_the_courses_parameter_counts() -> None:
    vae = build_network("course", kind="vae", shape=(256, 64), latent_dim=128)
    ae = build_network("course", kind="ae", shape=(256, 64), latent_dim=128)
    assert ae.encoder.count_params() == COURSE_ENCODER_TRUNK + HEAD == 1_707_488
    assert vae.encoder.count_params() == COURSE_ENCODER_TRUNK + 2 * HEAD
    assert vae.decoder.count_params() == ae.decoder.count_params() == 533_089


def test_the_course_architecture_normalises_after_the_relu() -> None:
    network = build_network("course", kind="vae", shape=(256, 64), latent_dim=128)
    kinds = [type(layer).__name__ for layer in network.encoder.layers]
    assert kinds == ["InputLayer", *["Conv2D", "ReLU", "BatchNormalization"] * 5, "Flatten", "Dense", "Dense"]
    kinds = [type(layer).__name__ for layer in network.decoder.layers]
    blocks = ["Conv2DTranspose", "ReLU", "BatchNormalization"] * 4
    assert kinds == ["InputLayer", "Dense", "Reshape", *blocks, "Conv2DTranspose", "Activation"]


def test_the_course_decoder_mirrors_its_encoder() -> None:
    network = build_network("course", kind="vae", shape=(256, 64), latent_dim=128)
    down = [(x.filters, x.kernel_size, x.strides) for x in network.encoder.layers if isinstance(x, layers.Conv2D)]
    up = [
        (x.filters, x.kernel_size, x.strides) for x in network.decoder.layers if isinstance(x, layers.Conv2DTranspose)
    ]
    assert [filters for filters, _, _ in down] == [512, 256, 128, 64, 32]
    assert [strides for _, _, strides in down] == [(2, 2)] * 4 + [(2, 1)]
    assert {kernel for _, kernel, _ in down} == {(3, 3)}
    assert up == [*reversed(down[1:]), (1, (3, 3), (2, 2))]


def test_the_default_architecture_stays_small() -> None:
    network = build_network("residual", kind="vae", shape=(128, 128), latent_dim=128)
    assert network.encoder.count_params() + network.decoder.count_params() < 2_100_000


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [("course", (40, 24)), ("residual", (37, 21)), ("residual", (8, 8)), ("spatial", (37, 21))],
)
def test_shapes_that_do_not_divide_come_back_as_they_went_in(architecture: str, shape: tuple[int, ...]) -> None:
    small = {
        "course": {"filters": [4, 4, 4, 4, 4]},
        "residual": {"fine": 4, "coarse": 4, "frame": 4, "neck": 2},
        "spatial": {"fine": 4, "coarse": 4},
    }
    network = build_network(architecture, kind="ae", shape=shape, latent_dim=15, config=small[architecture])
    x = np.random.default_rng(0).random((2, *shape, 1), np.float32)
    y = np.asarray(network.decoder(network.encode(x, training=False)[0]))
    assert y.shape == x.shape
    assert 0 < y.min() <= y.max() < 1


def test_a_plain_autoencoder_has_the_same_network_without_the_variance() -> None:
    vae = build_network("residual", kind="vae", shape=(16, 16), latent_dim=5)
    ae = build_network("residual", kind="ae", shape=(16, 16), latent_dim=5)
    assert set(vae.variables()) - set(ae.variables()) == {
        "encoder/log_variance/kernel",
        "encoder/log_variance/bias",
    }
    assert set(ae.variables()) < set(vae.variables())


def test_a_spatial_latent_belongs_to_its_place() -> None:
    network = build_network("spatial", kind="ae", shape=(64, 64), latent_dim=8 * 8 * 2)
    latents = np.zeros((2, 8, 8, 2), np.float32)
    latents[1, 0, 0] = 1
    for variable in network.decoder.variables:  # what starts at zero would hide how far a block reaches
        variable.assign(np.random.default_rng(0).normal(0, 0.1, variable.shape))
    y = np.asarray(network.decoder(latents.reshape(2, -1)))
    near, far = (np.abs(y[1] - y[0])[place].max() for place in (np.s_[:8, :8], np.s_[-8:, -8:]))
    assert far < 0.01 * near


def test_a_spatial_latent_that_fills_no_picture_is_refused() -> None:
    with pytest.raises(ModelError, match="multiple of 256 numbers, received 300"):
        build_network("spatial", kind="vae", shape=(128, 128), latent_dim=300)


def test_variable_names_do_not_depend_on_what_was_built_before() -> None:
    first, second = (build_network("residual", kind="vae", shape=(16, 16), latent_dim=5) for _ in range(2))
    assert list(first.variables()) == list(second.variables())
    n_values = sum(int(np.prod(variable.shape)) for variable in first.variables().values())
    assert n_values == first.encoder.count_params() + first.decoder.count_params()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "transformer"}, "course, residual"),
        ({"kind": "gan"}, "vae or ae"),
        ({"config": {"heads": 4}}, "no setting heads"),
    ],
)
def test_unknown_networks_are_refused_with_the_choices(changes: dict[str, Any], said: str) -> None:
    options = {"architecture": "residual", "kind": "vae", "shape": (16, 16), "latent_dim": 4} | changes
    with pytest.raises(ModelError, match=said):
        build_network(options.pop("architecture"), **options)


def test_settings_of_keras_for_networks_of_others_change_nothing_of_ours() -> None:
    def outputs() -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        network = build_network(
            "residual", kind="vae", shape=(32, 24), latent_dim=4, config={"fine": 8, "coarse": 8, "frame": 8, "neck": 4}
        )
        x = np.random.default_rng(0).uniform(size=(2, 32, 24, 1)).astype(np.float32)
        mean, log_variance = network.encode(x, training=False)
        return [np.asarray(mean), np.asarray(log_variance), np.asarray(network.decoder(mean, training=False))]

    expected = outputs()
    config = keras.config
    before = (config.floatx(), config.image_data_format(), config.epsilon(), config.dtype_policy())
    try:
        config.set_floatx("float16")
        config.set_image_data_format("channels_first")
        config.set_epsilon(0.1)
        config.set_dtype_policy("mixed_float16")
        found = outputs()
        assert (config.floatx(), config.image_data_format()) == ("float16", "channels_first")
    finally:
        config.set_floatx(before[0])
        config.set_image_data_format(before[1])
        config.set_epsilon(before[2])
        config.set_dtype_policy(before[3])
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)
