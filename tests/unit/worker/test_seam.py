"""The internals of kombu and Celery that a worker changes are where `seam` expects them."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from wavemill_worker.seam import INTERNALS

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.mark.parametrize("name", INTERNALS)
def test_kombu_and_celery_still_have_the_internals_that_a_worker_changes(name: str) -> None:
    module, _, path = name.partition(":")
    library = module.partition(".")[0]
    found = import_module(module)
    for attribute in path.split("."):
        assert hasattr(found, attribute), (
            f"{library} {version(library)} has no {name}: mend worker/wavemill_worker/seam.py before the version bound "
            "in pyproject.toml is raised"
        )
        found = getattr(found, attribute)


@pytest.mark.parametrize(("library", "extra"), [("celery", "producer"), ("kombu", "producer"), ("numba", "audio")])
def test_libraries_whose_internals_are_used_are_bounded(library: str, extra: str) -> None:
    texts = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"][extra]
    (bound,) = (found for text in texts if (found := Requirement(text)).name == library)
    assert version(library) in bound.specifier
    assert "99.0" not in bound.specifier, f"{library} has no upper bound"
