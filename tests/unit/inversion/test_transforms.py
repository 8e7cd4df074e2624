from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wavemill.errors import UsageError
from wavemill.inversion import METHODS, invert

GEOMETRY = {"n_fft": 256, "hop_length": 64}

# numba without a function that the kernels need, as a later version might be
CHANGED_NUMBA = """
import logging

import numba.extending
import numpy as np

logging.basicConfig()
numba.njit(lambda: 0)()  # numba itself has imported all of its parts by now
del numba.extending.register_model
from wavemill.errors import UsageError
from wavemill.inversion import invert

magnitude = np.abs(np.random.default_rng(1).standard_normal((1, 129, 20))).astype(np.float32)
found = invert(magnitude, n_fft=256, hop_length=64)
assert found.tobytes() == invert(magnitude, n_fft=256, hop_length=64, transforms="scipy").tobytes()
try:
    invert(magnitude, n_fft=256, hop_length=64, transforms="simd")
except UsageError as exc:
    print(exc)
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("band", [1.0, 0.2], ids=["whole band", "low rows alone"])
def test_the_kernels_and_scipy_give_the_same_waveforms(signals, magnitudes, geometry, method, band):
    wanted = magnitudes(*(signals[name] for name in ("sweep", "buzz", "noise")), **geometry)
    wanted[:, int(band * wanted.shape[1]) :] = 0  # iterations then run at a lower sample rate
    fast = invert(wanted, **geometry, method=method, transforms="simd")
    plain = invert(wanted, **geometry, method=method, transforms="scipy")
    # Iterations with momentum amplify rounding: 8 of them to 7e-6 of the peak, 16 (for noise) to 2e-4.
    tolerance = {"griffin-lim": 5e-3, "pghi+gl": 5e-4}.get(method, 1e-4)
    for one, other in zip(fast, plain, strict=True):
        assert np.abs(one - other).max() < tolerance * np.abs(other).max()


def test_other_names_are_refused(magnitudes, signals):
    with pytest.raises(UsageError, match="'fftw'; choose one of: simd, scipy"):
        invert(magnitudes(signals["tone"], **GEOMETRY), **GEOMETRY, transforms="fftw")


def test_a_numba_that_has_changed_gives_the_sound_of_scipy_and_one_warning():
    run = subprocess.run([sys.executable, "-c", CHANGED_NUMBA], capture_output=True, text=True, check=True)
    assert run.stderr.count("cannot compile the SIMD transforms, SciPy is used") == 1
    assert "transforms='simd' does not work with this version of numba" in run.stdout
