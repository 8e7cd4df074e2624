"""Promises of the repository itself: what ships, and what must not."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import soundfile

from wavemill.recogniser.package import load_recogniser
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import list_models
from wavemill.vae.folder.record import read_record

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and an sdist, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=REPOSITORY, check=True)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_the_wheel_holds_the_four_packages_and_one_model_with_its_card(distributions: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(distributions[0]).namelist()
    for package in ("wavemill", "wavemill_cli", "wavemill_producer", "wavemill_worker"):
        assert f"{package}/py.typed" in names
    assert "wavemill/jobs/migrations/versions/0001_first_tables.py" in names
    assert "wavemill/demo/7_anna_0.wav" in names
    assert "wavemill/evaluation/templates/report.html" in names
    assert {name.rpartition("/")[0] for name in names if name.endswith(".npz")} == {
        "wavemill/shipped/models/fsdd-vae",
        "wavemill/shipped/recognisers/fsdd",
    }
    assert "wavemill/shipped/models/fsdd-vae/README.md" in names
    assert not [name for name in names if name.startswith("tests")]


def test_a_wheel_can_be_built_from_the_sdist(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(distributions[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=source, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(wheel).namelist()) == set(zipfile.ZipFile(distributions[0]).namelist())


def test_a_plain_install_finds_the_shipped_model_in_any_folder(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(distributions[0]) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "from wavemill.vae.folder.digests import verify; from wavemill.vae.folder.finding import find_model; "
        "print(verify(find_model('fsdd-vae')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = [sys.executable, "-c", code]
    digest = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert digest.strip() == verify(REPOSITORY / "models" / "fsdd-vae")


def test_the_bare_wheel_answers_help_and_says_which_extra_is_missing(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    """Only click beside it: as `pip install wavemill` without extras."""
    import click

    with zipfile.ZipFile(distributions[0]) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "site" / "click").symlink_to(Path(click.__file__).parent)
    command = [
        sys.executable,
        "-S",
        "-c",
        "import sys; from wavemill_producer.cli.main import run; sys.exit(run(sys.argv[1:]))",
    ]

    def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
        return subprocess.run([*command, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert bare("--help").returncode == 0
    missing = bare("status")
    assert missing.returncode == 1
    assert "pip install 'wavemill[producer]'" in missing.stderr


def test_the_shipped_recogniser_is_whole_small_and_says_where_it_comes_from() -> None:
    folder = REPOSITORY / "recognisers" / "fsdd"
    ear = load_recogniser(folder)
    assert set(ear.labels) == {"digit", "speaker"}
    assert min(ear.record.quality[kind]["accuracy"] for kind in ear.labels) > 0.99
    assert max(ear.record.quality[kind]["sure_of_noise"] for kind in ear.labels) < 0.05
    card = (folder / "README.md").read_text()
    assert "Free Spoken Digit Dataset" in card
    assert "CC BY-SA 4.0" in card
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_the_shipped_recogniser_hears_voices_that_it_never_met_better_than_chance(clips: Path) -> None:
    files = sorted(clips.glob("*.wav"))
    sounds = [soundfile.read(file, dtype="float32")[0] for file in files]
    heard = load_recogniser(REPOSITORY / "recognisers" / "fsdd").hear(sounds, 8_000)
    assert heard.accuracy("digit", [file.name[0] for file in files]) > 0.3  # a tenth by chance


def test_each_shipped_model_verifies_and_has_a_card() -> None:
    models = list_models(REPOSITORY / "models")
    assert "fsdd-vae" in {folder.name for folder in models}
    for folder in models:
        assert len(verify(folder)) == 64
        assert read_record(folder).name == folder.name
        card = (folder / "README.md").read_text()
        assert ("MIT" if folder.name == "gm-notes" else "CC BY-SA 4.0") in card
        assert sum(path.stat().st_size for path in folder.iterdir()) < 20_000_000
