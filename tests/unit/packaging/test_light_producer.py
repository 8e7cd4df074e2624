"""`pip install wavemill[producer]` alone submits and queries: its libraries, and none besides."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[3]


def _closure(requirement: Requirement, seen: set[str]) -> Iterator[Distribution]:
    """Yield what pip would install for a requirement, of what is installed here."""
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return
    key = f"{requirement.name.lower()}[{','.join(sorted(requirement.extras))}]"
    if key in seen:
        return
    seen.add(key)
    yield found
    for text in found.requires or []:
        needed = Requirement(text)
        environments = [{"extra": extra} for extra in (requirement.extras or {""})]
        if needed.marker is None or any(needed.marker.evaluate(environment) for environment in environments):
            yield from _closure(needed, seen)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel and the libraries of its extra `producer`."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=REPOSITORY, check=True
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    metadata = next((folder / "site").glob("*.dist-info")) / "METADATA"
    for line in metadata.read_text().splitlines():
        if line.startswith("Requires-Dist: ") and ("extra" not in line or "'producer'" in line):
            for library in _closure(Requirement(line.removeprefix("Requires-Dist: ")), set()):
                _link(library, folder / "site")
    return folder / "site"


def _link(library: Distribution, site: Path) -> None:
    for top in {Path(path).parts[0] for path in library.files or [] if Path(path).parts[0] != ".."}:
        target = Path(str(library.locate_file(top)))
        if target.exists() and not (site / top).exists():
            (site / top).symlink_to(target)


def test_the_light_producer_submits_and_queries_without_numpy_and_tensorflow(
    site: Path, small_dataset: Path, models: Path, tmp_path: Path
) -> None:
    environment = {
        "PYTHONPATH": str(site), "PATH": "", "WAVEMILL_HOME": str(tmp_path / "home"), "WAVEMILL_MODELS": str(models),
        "WAVEMILL_BROKER_URL": "redis://127.0.0.1:1/0",
    }  # fmt: skip

    def light(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-c", code]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
        call = f"import sys; from wavemill_producer.cli.main import run; sys.exit(run({[*map(str, arguments)]!r}))"
        return light(call)

    for library in ("numpy", "tensorflow", "librosa"):
        assert light(f"import {library}").returncode == 1, f"{library} would be found, so the test shows nothing"
    place = ("--dataset", small_dataset, "--model", "small", "--output", tmp_path / "out")
    submitted = cli("submit", "reconstruct", *place, "--all", "--key", "k", "--json")
    assert submitted.returncode == 0, submitted.stderr
    assert "is safe in the table" in submitted.stderr, "there is no broker"
    batch_id = json.loads(submitted.stdout)["batch_id"]
    status = json.loads(cli("status", batch_id, "--json").stdout)
    assert (status["state"], status["total"]) == ("queued", json.loads(submitted.stdout)["total"])
    assert len(cli("jobs", "--batch", batch_id, "--limit", 3, "--json").stdout.splitlines()) == 3
    assert cli("cancel", batch_id).returncode == 0
    assert len(cli("export", batch_id, "--format", "jsonl").stdout.splitlines()) == status["total"]
    assert "pip install 'wavemill[export]'" in cli("export", batch_id, "--format", "parquet").stderr
    assert cli("gc", "--older-than", "0s").stdout.startswith(f"removed batch {batch_id}")
