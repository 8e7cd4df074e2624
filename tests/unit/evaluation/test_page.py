from __future__ import annotations

import numpy as np

from wavemill.evaluation.page import badness_of


def worst_first(measure: str, *values: float) -> list[float]:
    return sorted(values, key=lambda value: -badness_of(measure, value))


def test_the_worst_clip_comes_first_and_one_without_the_measure_last() -> None:
    assert worst_first("log_spectral_distance_db", 1, 3, 2) == [3, 2, 1]
    assert worst_first("stoi", 0.9, 0.2, 0.5) == [0.2, 0.5, 0.9]
    assert worst_first("bandwidth_ratio", 1, 0.9, 20, 0.02) == [0.02, 20, 0.9, 1]
    for measure in ("stoi", "pitch_right", "multi_resolution_db"):
        assert np.isnan(worst_first(measure, np.nan, 0, 1)[-1])
