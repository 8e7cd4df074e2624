"""`wavemill dataset suggest`, and the command that it prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from wavemill.dataset.index import Dataset
from wavemill_producer.cli.dataset import dataset


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dataset, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Loops in two folders, below a folder whose name needs quotes."""
    monkeypatch.chdir(tmp_path)
    folder = Path("my $ounds; rm")
    rng = np.random.default_rng(0)
    for kind in ("kick drum", "snare"):
        (folder / kind).mkdir(parents=True)
        for k in range(3):
            soundfile.write(folder / kind / f"hit {k}.wav", rng.uniform(-0.5, 0.5, (3_000 + k, 2)), 22_050)
    soundfile.write(folder / "snare" / "roll.wav", rng.uniform(-0.5, 0.5, 200_000), 22_050)
    (folder / "broken.wav").write_text("no sound")
    return folder


def test_the_printed_command_builds_what_was_recommended(audio: Path) -> None:
    result = run("suggest", audio)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    words = shlex.split(lines[-1])
    assert words[:5] == ["wavemill", "dataset", "build", str(audio), "data/my $ounds; rm"]
    assert words[-3:] == ["--long", "keep", "--labels-from-folders"]
    assert run(*words[2:]).exit_code == 0
    with Dataset.open(Path(words[4])) as built:
        assert built.features.sample_rate_hz == 22_050
        assert built.get("kick drum/hit 0").labels == {"label": "kick drum"}
        assert built.get("snare/roll").duration_s == pytest.approx(200_000 / 22_050)


def test_the_table_says_what_is_there(audio: Path) -> None:
    shown = run("suggest", audio).stdout
    for said in (
        "22,050 Hz: 7",
        "1: 1",
        "2: 6",
        "0.14 s to 9.07 s",
        "from folders: label, 2 texts",
        "  unreadable: broken",
    ):
        assert said in shown


def test_json_has_survey_and_suggestion(audio: Path) -> None:
    values = json.loads(run("suggest", audio, "--json").stdout)
    assert values["survey"]["rates"] == {"22050": 7}
    assert values["suggestion"]["features"]["sample_rate_hz"] == 22_050
    assert shlex.split(values["suggestion"]["command"])[3] == str(audio)


def test_label_options_are_repeated_in_the_command(audio: Path) -> None:
    Path("my labels.csv").write_text("file_name,loud\nsnare/hit 0.wav,1\n")
    words = shlex.split(run("suggest", audio, "--metadata", "my labels.csv").stdout.splitlines()[-1])
    assert words[words.index("--metadata") + 1] == "my labels.csv"
    words = shlex.split(run("suggest", audio, "--label-pattern", "{what} {take:d}").stdout.splitlines()[-1])
    assert words[words.index("--label-pattern") + 1] == "{what} {take:d}"


def test_a_folder_that_looks_like_an_option_is_none_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-x").mkdir()
    soundfile.write("-x/a.wav", np.full(8_000, 0.1), 8_000)
    words = shlex.split(run("suggest", "--", "-x").stdout.splitlines()[-1])
    assert run(*words[2:]).exit_code == 0


def test_auto_duration_fits_the_recordings(audio: Path) -> None:
    assert run("build", audio, "d", "--preset", "speech", "--duration", "auto").exit_code == 0
    with Dataset.open(Path("d")) as built:
        assert built.features.n_frames == 128  # about a second, since the roll is longer than a frame should be


def test_json_of_a_build_counts_recordings_by_their_rate(audio: Path) -> None:
    values = json.loads(run("build", audio, "d", "--json").stdout)
    assert values["resampled"] == {"22050": 7}
