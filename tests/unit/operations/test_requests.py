from __future__ import annotations

import pytest

from wavemill.errors import UsageError
from wavemill.operations.formats import FORMATS
from wavemill.operations.requests import (
    METHODS,
    EncodeParams,
    InterpolateParams,
    ReconstructParams,
    VaryParams,
    require_plain_text,
)


def test_parameters_survive_the_table() -> None:
    params = ReconstructParams(method=METHODS[1], seed=-3, keep_latents=True, format="flac")
    assert ReconstructParams.from_dict(params.as_dict()) == params
    assert ReconstructParams.from_dict({}) == ReconstructParams()


def test_rate_and_loudness_are_stored_only_where_they_were_given() -> None:
    assert not {"output_rate_hz", "loudness_lufs"} & set(ReconstructParams().as_dict())
    params = ReconstructParams(format="opus", output_rate_hz=24_000, loudness_lufs=-23)
    assert ReconstructParams.from_dict(params.as_dict()) == params


@pytest.mark.parametrize("kind", [EncodeParams, InterpolateParams, ReconstructParams, VaryParams])
def test_what_encodes_takes_steps_of_refinement_and_stores_them_where_they_were_given(kind) -> None:
    assert "refine" not in kind().as_dict()
    assert kind(refine=0).as_dict()["refine"] == 0
    assert kind.from_dict(kind(refine=100).as_dict()) == kind(refine=100)
    for steps in (-1, 101, 2.5, True, "3"):
        with pytest.raises(UsageError, match="expected a whole number from 0 to 100"):
            kind(refine=steps)


def test_a_rate_that_a_format_lacks_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="opus cannot hold sound at 22050 Hz; the nearest rate that it has is 24000"):
        ReconstructParams(format="opus", output_rate_hz=22_050)
    with pytest.raises(UsageError, match=r"ogg cannot hold .* 192000 Hz"):
        ReconstructParams(format="ogg", output_rate_hz=384_000)
    for rate_hz in (0, 999, 10**9, 8_000.5, True):
        with pytest.raises(UsageError, match="expected a whole number of Hz"):
            ReconstructParams(output_rate_hz=rate_hz)  # type: ignore[arg-type]
    for lufs in (-71, 0, float("nan")):
        with pytest.raises(UsageError, match="expected -70 to -5 LUFS"):
            ReconstructParams(loudness_lufs=lufs)


def test_names_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=METHODS[0].replace("+", r"\+")):
        ReconstructParams(method="magic")
    with pytest.raises(UsageError, match=", ".join(FORMATS)):
        ReconstructParams(format="aiff")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="colour"):
        ReconstructParams.from_dict({"colour": "blue"})


def test_an_items_seed_depends_on_the_batchs_seed_and_its_id_alone() -> None:
    params = ReconstructParams(seed=1)
    assert params.item_seed("a") == ReconstructParams(seed=1, format="flac").item_seed("a")
    assert len({params.item_seed("a"), params.item_seed("b"), ReconstructParams(seed=2).item_seed("a")}) == 3
    assert 0 <= params.item_seed("a") < 2**64


def test_folders_may_have_any_name_and_texts_are_plain() -> None:
    require_plain_text({"output": "/a\tb/c\nd", "dataset": "/\x1b", "params": {"latents": "/a\tb"}, "name": "Straße"})
    for request in ({"name": "a\tb"}, {"key": "a\nb"}, {"output": "a\0b"}, {"params": {"labels": {"a": "b\x1b"}}}):
        with pytest.raises(UsageError, match="without control characters"):
            require_plain_text(request)
