from __future__ import annotations

import numpy as np
import pytest

from wavemill.audio.duration import sounding_s
from wavemill.presets import PRESETS

DIGITS = PRESETS["digits"]


@pytest.mark.parametrize("last_frame", [10, 60, 127])
def test_the_end_is_that_of_the_last_frame_that_can_be_heard(last_frame: int) -> None:
    db = np.full((1, *DIGITS.shape), -90, np.float32)
    db[0, 20, 3 : last_frame + 1] = -20
    db[0, 20, last_frame + 1 :] = -61
    expected = min((last_frame + 3) * 0.008, DIGITS.n_samples / 8_000)
    assert sounding_s(db, DIGITS)[0] == pytest.approx(expected)
