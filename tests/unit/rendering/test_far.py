from __future__ import annotations

import pytest

from wavemill.rendering.outputs import FAR_DB, far_db


def test_far_is_what_few_of_the_models_own_held_out_clips_are() -> None:
    assert far_db({"log_spectral_distance_quantiles_db": {"0.5": 2.1, "0.99": 8.25}}) == 8.25


@pytest.mark.parametrize(
    "quality", [{}, {"log_spectral_distance_quantiles_db": {}}, {"log_spectral_distance_quantiles_db": 7}]
)
def test_a_record_without_the_quantile_gives_the_default(quality: dict[str, object]) -> None:
    assert far_db(quality) == FAR_DB
