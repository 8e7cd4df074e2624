"""Recognisers that would take more memory than they are worth are refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.memory import run_measured

from wavemill.errors import ModelError
from wavemill.recogniser.package import load_recogniser

SHIPPED = Path(__file__).parents[3] / "recognisers" / "fsdd"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(SHIPPED, tmp_path / "ear")


def relist(folder: Path) -> None:
    names = sorted(file.name for file in folder.iterdir() if file.name != "SHA256")
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    (folder / "SHA256").write_text("".join(f"{d}  {n}\n" for d, n in zip(digests, names, strict=True)))


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "vast pictures": ({"listening": {"n_samples": 10**9}}, "n_samples: expected a whole number"),
    "a billion bands": ({"listening": {"n_bands": 10**7}}, "picture of 10000000 x"),
    "a step of nothing": ({"listening": {"hop_length": 0}}, "hop_length: expected a whole number"),
    "a rate in words": ({"listening": {"sample_rate_hz": "x"}}, "sample_rate_hz: expected a whole number"),
    "many labels": ({"labels": {"digit": list(map(str, range(20_000)))}}, "labels: expected at most"),
    "labels of numbers": ({"labels": {"digit": 10**9}}, "labels: expected lists"),
    "no temperatures": ({"temperatures": {}}, "a temperature for each"),
}


@pytest.mark.parametrize("name", FORGED)
def test_absurd_sizes_are_refused(folder: Path, name: str) -> None:
    changes, message = FORGED[name]
    record = json.loads((folder / "recogniser.json").read_text())
    for key, value in changes.items():
        record[key] = {**record[key], **value} if key == "listening" else value
    (folder / "recogniser.json").write_text(json.dumps(record))
    relist(folder)
    with pytest.raises(ModelError, match=rf"recogniser\.json: .*{message}"):
        load_recogniser(folder)


def test_a_deep_record_is_refused(folder: Path) -> None:
    (folder / "recogniser.json").write_text("[" * 100_000)
    relist(folder)
    with pytest.raises(ModelError, match=r"recogniser\.json: cannot be read as"):
        load_recogniser(folder)


def test_a_vast_array_among_the_weights_is_not_read(folder: Path) -> None:
    with np.load(folder / "weights.npz") as arrays:
        weights = dict(arrays)
    weights[next(iter(weights))] = np.zeros(2**29, np.uint8)
    np.savez_compressed(folder / "weights.npz", **weights)
    relist(folder)
    said, peak_mib = run_measured(
        f"load_recogniser({str(folder)!r})",
        before=f"from wavemill.recogniser.package import load_recogniser; load_recogniser({str(SHIPPED)!r})",
    )
    assert said.startswith("ModelError: ")
    assert "\n" not in said
    assert peak_mib < 200
