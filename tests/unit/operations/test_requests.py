from __future__ import annotations

import pytest

from wavemill.errors import UsageError
from wavemill.operations.requests import FORMATS, METHODS, ReconstructParams, require_plain_text


def test_parameters_survive_the_table() -> None:
    params = ReconstructParams(method=METHODS[1], seed=-3, keep_latents=True, format="flac")
    assert ReconstructParams.from_dict(params.as_dict()) == params
    assert ReconstructParams.from_dict({}) == ReconstructParams()


def test_names_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=METHODS[0].replace("+", r"\+")):
        ReconstructParams(method="magic")
    with pytest.raises(UsageError, match=", ".join(FORMATS)):
        ReconstructParams(format="mp3")  # type: ignore[arg-type]
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
