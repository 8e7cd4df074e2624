"""The architecture `spectra`, with and without conditions."""

from __future__ import annotations

import numpy as np
import pytest

from wavemill.errors import ModelError
from wavemill.vae.conditions import Category, Conditions, Number, total_width
from wavemill.vae.network.architectures import ARCHITECTURES
from wavemill.vae.network.building import Encoded, Network, build_network
from wavemill.vae.network.condition_layers import Choices, Limited, Predicted
from wavemill.vae.network.sizes import count_weights
from wavemill.vae.training.config import SPECTRA_NUMBERS, TrainingConfig

CONDITIONS: Conditions = (
    Category(label="instrument", values=("cello", "harp", "violin")),
    Number(label="pitch", knots=(60.0, 61.0, 64.0)),
)
SIZES = {"width": 16, "embedding": 4, "hidden": 8, "channels": 2, "fine": 4}


def network(shape: tuple[int, int], conditions: Conditions, kind: str = "vae") -> Network:
    return build_network("spectra", kind=kind, shape=shape, latent_dim=6, config=SIZES, conditions=conditions)


@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["plain", "conditioned"])
@pytest.mark.parametrize("kind", ["vae", "ae"])
def test_any_shape_is_encoded_and_decoded_and_its_weights_are_counted(kind: str, conditions: Conditions) -> None:
    shape = (9, 17)
    made = network(shape, conditions, kind)
    encoded = Encoded.of(made, made.encode(np.zeros((2, *shape, 1), np.float32), training=False))
    assert encoded.mean.shape == (2, 6)
    assert (encoded.log_variance is None) == (kind == "ae")
    assert [logits.shape[1] for logits in encoded.logits] == ([3, 3] if conditions else [])
    assert made.decoder(np.zeros((2, 6 + total_width(conditions)), np.float32)).shape == (2, *shape, 1)
    n_weights = sum(int(np.prod(variable.shape)) for variable in made.variables().values())
    sizes = {**ARCHITECTURES["spectra"].defaults, **SIZES}
    assert n_weights == count_weights(
        "spectra", kind=kind, shape=shape, latent_dim=6, config=sizes, conditions=conditions
    )


def test_a_number_is_spread_over_the_knots_beside_it() -> None:
    weights = np.asarray(Choices((1.0, 2.0, 4.0))(np.float32([[0], [1], [1.5], [3], [4], [9]])))
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_the_weights_of_a_category_sum_to_one() -> None:
    weights = np.asarray(Choices(None)(np.float32([[0.9, 0.9, -0.3], [0, 0, 0]])))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0, 0, 0]], atol=1e-6)


def test_a_number_is_predicted_from_the_likeliest_knot_and_its_neighbours() -> None:
    # An octave error far away must not pull the prediction to the middle.
    logits = np.log(np.float32([[0.4, 0.02, 0.29, 0.29], [0.3, 0.4, 0.1, 0.2]]))
    numbers = np.asarray(Predicted((60.0, 61.0, 62.0, 72.0))(logits))[:, 0]
    np.testing.assert_allclose(numbers, [60 + 0.02 / 0.42, (0.3 * 60 + 0.4 * 61 + 0.1 * 62) / 0.8], rtol=1e-5)


def test_output_is_limited_but_not_in_training() -> None:
    x = np.float32([-1, 0.5, 2])
    assert np.asarray(Limited()(x, training=True)).tolist() == x.tolist()
    assert np.asarray(Limited()(x, training=False)).tolist() == [0, 0.5, 1]


def test_what_the_decoder_is_told_changes_what_it_makes() -> None:
    made = network((8, 24), CONDITIONS)
    rng = np.random.default_rng(0)
    for variable in made.variables().values():  # some start at zero
        variable.assign(rng.normal(0, 0.3, variable.shape))
    rows = np.zeros((3, 6 + total_width(CONDITIONS)), np.float32)
    rows[:, 6:] = [[1, 0, 0, 60], [0, 1, 0, 60], [1, 0, 0, 60.5]]
    first, harp, higher = np.asarray(made.decoder(rows, training=True))
    assert np.abs(first - harp).max() > 1e-3
    assert np.abs(first - higher).max() > 1e-3


def test_other_architectures_cannot_be_conditioned() -> None:
    with pytest.raises(ModelError, match="choose one of: spectra"):
        build_network("residual", kind="vae", shape=(16, 16), latent_dim=6, conditions=CONDITIONS)


def test_latents_must_fill_the_steps() -> None:
    with pytest.raises(ModelError, match="a multiple of 3"):
        build_network("spectra", kind="vae", shape=(16, 24), latent_dim=7)


@pytest.mark.parametrize(
    ("architecture", "wanted", "expected"),
    [
        ("spectra", None, SPECTRA_NUMBERS * 3),
        ("spectra", 100, 99),
        ("spectra", 1, 3),
        ("spatial", 40, 36),
        ("residual", 100, 100),
    ],
)
def test_a_latent_is_rounded_to_what_the_shape_allows(architecture: str, wanted: int | None, expected: int) -> None:
    config = TrainingConfig.for_architecture(architecture, shape=(32, 20), latent_dim=wanted)
    assert config.latent_dim == expected
