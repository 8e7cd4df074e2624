from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from wavemill.inversion.fft import put_in_order, put_out_of_order
from wavemill.inversion.fft_plan import places_for, radices_for, roots_for
from wavemill.inversion.kernel import kernel


@kernel
def to_order(tile, radices, roots):
    put_in_order(tile, radices, roots)


@kernel
def from_order(tile, radices, roots):
    put_out_of_order(tile, radices, roots)


@pytest.mark.parametrize("n", [2, 3, 4, 8, 16, 64, 96, 99, 127, 128, 200, 256, 512, 1_024])
def test_transforms_of_sixteen_frames_are_those_of_scipy(n):
    radices, roots = radices_for(n), roots_for(n)
    places = places_for(n, radices)
    numbers = np.random.default_rng(n).standard_normal((n, 2, 16)).astype(np.float32)
    expected = scipy.fft.fft(numbers[:, 0] + 1j * numbers[:, 1].astype(np.float64), axis=0)
    in_order, out_of_order = numbers[places].ravel(), numbers.ravel().copy()
    to_order(in_order, radices, roots)
    from_order(out_of_order, radices, roots)
    for tile, wanted in ((in_order, expected), (out_of_order, expected[places])):
        real, imag = np.moveaxis(tile.reshape(n, 2, 16), 1, 0)
        assert np.abs(real + 1j * imag - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("n", "radices"),
    [
        (1, []),
        (2, [2]),
        (16, [4, 4]),
        (64, [8, 8]),
        (128, [4, 4, 8]),
        (256, [4, 8, 8]),
        (200, [5, 5, 8]),
        (198, [2, 3, 3, 11]),
    ],
)
def test_powers_of_two_have_few_and_large_factors(n, radices):
    assert radices_for(n).tolist() == radices
    assert sorted(places_for(n, radices_for(n))) == list(range(n))
