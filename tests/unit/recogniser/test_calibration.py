from __future__ import annotations

import numpy as np
import pytest

from wavemill.recogniser.calibration import best_temperature, calibration_error
from wavemill.recogniser.recogniser import softmax


def test_logits_that_boast_are_cooled_by_what_they_boast_by() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    drawn = np.array([rng.choice(5, p=p / p.sum()) for p in softmax(honest).astype(np.float64)])
    targets = np.eye(5, dtype=np.float32)[drawn]
    assert best_temperature(honest, targets) == pytest.approx(1, rel=0.05)
    assert best_temperature(honest * 3, targets) == pytest.approx(3, rel=0.05)


def test_the_error_is_by_how_much_confidence_and_accuracy_differ() -> None:
    confidence = np.array([0.95] * 100 + [0.55] * 100, np.float32)
    right = np.array([True] * 95 + [False] * 5 + [True] * 25 + [False] * 75)
    assert calibration_error(confidence, right) == pytest.approx((0 + 0.30) / 2, abs=1e-4)
