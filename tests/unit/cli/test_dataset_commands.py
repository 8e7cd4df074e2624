from __future__ import annotations

import io
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from data import course_recipe

from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError, UsageError
from wavemill_producer.cli import submitting
from wavemill_producer.cli.dataset import dataset


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("3_ann_0", "7_ann_0", "7_bob_0"):
        soundfile.write(folder / f"{name}.wav", rng.uniform(-0.5, 0.5, 2_000), 8_000)
    soundfile.write(folder / "7_bob_1.wav", rng.uniform(-0.5, 0.5, 20_000), 8_000)
    for k in range(7):
        (folder / f"text-{k}.wav").write_text("no sound")
    return folder


def run(*arguments: object) -> Result:
    """Run a command; wavemill's own errors come through, as the main command wants them."""
    return CliRunner().invoke(dataset, [str(argument) for argument in arguments], catch_exceptions=False)


def test_build_prints_counts_and_the_first_unreadable_files(recordings: Path, tmp_path: Path) -> None:
    result = run("build", recordings, tmp_path / "d")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'd'}: 4 built, 0 reused, 0 removed"
    assert lines[1] == "1 cut to 1.016 s, 0 silent, 0 skipped, 7 unreadable, 0 other files ignored"
    assert lines[2].startswith("  unreadable: text-0.wav: not readable as sound")
    assert lines[-1] == "  unreadable: and 2 more; all of them with --json"
    assert result.stderr == "warning: 1 of 4 (25%) are cut to 1.016 s\n"


def test_of_many_problems_one_of_each_kind_is_shown(recordings: Path, tmp_path: Path) -> None:
    for k in range(8):
        (recordings / f"loop-{k}").symlink_to(f"loop-{k}")
    (recordings / "pipe.wav").symlink_to("/dev/null")
    (recordings / "z.wav").touch()
    soundfile.write(recordings / "z-nan.wav", np.full(100, np.nan), 8_000, subtype="FLOAT")
    shown = run("build", recordings, tmp_path / "d").stdout
    assert "\n  unreadable: z-nan.wav: " in shown
    assert "\n  skipped: pipe.wav: is not a regular file\n" in shown
    assert "\n  skipped: loop-0: " in shown
    assert "\n  skipped: and 4 more; all of them with --json\n" in shown


def test_build_as_json_lists_every_unreadable_file(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d")
    report = json.loads(run("build", recordings, tmp_path / "d", "--jobs", 1, "--json").stdout)
    assert {name: report[name] for name in ("built", "reused", "cut", "silent", "skipped")} == {
        "built": 0,
        "reused": 4,
        "cut": 1,
        "silent": 0,
        "skipped": [],
    }
    assert [path for path, _ in report["unreadable"]] == [f"text-{k}.wav" for k in range(7)]


def test_a_build_that_would_remove_much_wants_prune_and_says_what_it_keeps(recordings: Path, tmp_path: Path) -> None:
    for k in range(6):
        soundfile.write(recordings / f"more-{k}.wav", np.sin(np.arange(2_000) * (0.1 + k)), 8_000)
    run("build", recordings, tmp_path / "d")
    for k in range(6):
        (recordings / f"more-{k}.wav").unlink()
    (recordings / "3_ann_0.wav").write_text("no sound")
    with pytest.raises(DatasetError, match=r"6 of the 10 spectrograms .* add --prune"):
        run("build", recordings, tmp_path / "d")
    lines = run("build", recordings, tmp_path / "d", "--prune").stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'd'}: 0 built, 3 reused, 6 removed, 1 kept (recordings not readable now)"


def test_a_dataset_is_packed_on_request_and_shown_so(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d", "--packed")
    assert "packed: many spectrograms per file" in run("show", tmp_path / "d").stdout
    assert json.loads(run("show", tmp_path / "d", "--json").stdout)["packed"] is True
    assert "4 reused" in run("build", recordings, tmp_path / "d").stdout
    assert len(list((tmp_path / "d" / "spectrograms").iterdir())) == 1


def test_show_tells_preset_and_counts(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d", "--preset", "course")
    assert "preset course, 22050 Hz, n_fft 512, hop 256, 256 x 64" in run("show", tmp_path / "d").stdout
    shown = json.loads(run("show", tmp_path / "d", "--json").stdout)
    assert (shown["preset"], shown["counts"]["spectrograms"]) == ("course", 4)
    assert shown["features"]["n_fft"] == 512


def test_ids_are_filtered_and_limited(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d")
    assert run("ids", tmp_path / "d").stdout.split() == ["3_ann_0", "7_ann_0", "7_bob_0", "7_bob_1"]
    assert run("ids", tmp_path / "d", "--where", "digit=7", "--where", "speaker=bob").stdout.split() == [
        "7_bob_0",
        "7_bob_1",
    ]
    assert run("ids", tmp_path / "d", "--limit", 2).stdout.split() == ["3_ann_0", "7_ann_0"]


@pytest.mark.parametrize(
    "name", [" lead", "trail ", " ", "e\u0301", "\u00e9", "line\u2028end", "no\u200djoin", "\u00a0"]
)
def test_an_id_is_printed_and_read_unchanged(recordings: Path, tmp_path: Path, name: str) -> None:
    (recordings / "3_ann_0.wav").rename(recordings / f"{name}.wav")
    run("build", recordings, tmp_path / "d")
    printed = run("ids", tmp_path / "d").stdout
    with_crlf = io.BytesIO(printed.replace("\n", "\r\n").encode())
    read = list(submitting.lines(io.TextIOWrapper(with_crlf, encoding="utf-8")))
    assert name in printed.split("\n")
    assert read == list(submitting.lines(io.StringIO(printed)))
    assert set(read) == {name, "7_ann_0", "7_bob_0", "7_bob_1"}


def test_ids_as_json_are_one_object_a_line(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d")
    first, *others = map(json.loads, run("ids", tmp_path / "d", "--json").stdout.splitlines())
    assert len(others) == 3
    assert first["spectrogram_id"] == "3_ann_0"
    assert first["labels"] == {"digit": "3", "speaker": "ann", "index": "0"}
    assert first["duration_s"] == 0.25


def test_the_course_files_are_imported(recordings: Path, tmp_path: Path) -> None:
    for path in recordings.glob("text-*"):
        path.unlink()
    course_recipe.preprocess(recordings, tmp_path / "npy", tmp_path / "ranges.pkl")
    np.save(tmp_path / "npy" / "stranger.wav.npy", np.zeros((256, 64), dtype=np.float32))
    result = run("import-course", tmp_path / "npy", tmp_path / "ranges.pkl", tmp_path / "d")
    assert "4 imported, 0 unreadable" in result.stdout
    assert "skipped: stranger.wav.npy: the pickle has no minimum and maximum for it" in result.stdout
    report = json.loads(
        run("import-course", tmp_path / "npy", tmp_path / "ranges.pkl", tmp_path / "e", "--json").stdout
    )
    assert (report["imported"], report["without_range"]) == (4, ["stranger.wav.npy"])


def test_errors_come_through_for_the_main_command_to_print(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not an existing folder"):
        run("show", tmp_path / "missing")
    with pytest.raises(UsageError, match="there is no preset 'nosuch'; choose one of: course"):
        run("build", recordings, tmp_path / "d", "--preset", "nosuch")
    assert not (tmp_path / "d").exists()
    run("build", recordings, tmp_path / "d")
    with pytest.raises(UsageError, match="--where expects LABEL=VALUE"):
        run("ids", tmp_path / "d", "--where", "digit")


@pytest.mark.parametrize("name", sorted(dataset.commands))
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    text = " ".join(run(name, "--help").stdout.split())
    assert f"Example: wavemill dataset {name}" in text
    assert "--json" in text
    assert isinstance(dataset.commands[name], click.Command)


def test_the_commands_are_light_to_import() -> None:
    program = (
        "import sys, wavemill_producer.cli.dataset; "
        "print([name for name in ('numpy', 'rich', 'sqlalchemy', 'librosa', 'celery') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_one_damaged_row_ends_neither_show_nor_ids(recordings: Path, tmp_path: Path) -> None:
    run("build", recordings, tmp_path / "d")
    with closing(sqlite3.connect(tmp_path / "d/index.sqlite")) as connection, connection:
        connection.execute("UPDATE spectrograms SET labels = '{' WHERE id = '7_ann_0'")
    assert run("show", tmp_path / "d").exit_code == 0
    assert run("ids", tmp_path / "d").stdout.split() == ["3_ann_0", "7_ann_0", "7_bob_0", "7_bob_1"]
    assert run("ids", tmp_path / "d", "--where", "digit=7").stdout.split() == ["7_bob_0", "7_bob_1"]
    lines = [json.loads(line) for line in run("ids", tmp_path / "d", "--json").stdout.splitlines()]
    assert [line["spectrogram_id"] for line in lines] == ["3_ann_0", "7_ann_0", "7_bob_0", "7_bob_1"]
    assert [line["error_code"] for line in lines if "error" in line] == ["bad-spectrogram"]
    assert "its row in the index is damaged: expected labels" in lines[1]["error"]


def test_build_takes_features_labels_and_long_recordings_by_option(tmp_path: Path) -> None:
    audio, target = tmp_path / "audio", tmp_path / "dataset"
    audio.mkdir()
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(88_200) / 44_100)
    soundfile.write(audio / "violin_69.wav", np.stack([tone, tone], 1), 44_100)
    features = ("--sample-rate", "16000", "--duration", "1", "--range-db", "60")
    result = run("build", audio, target, *features, "--label-pattern", "{instrument}_{pitch:d}")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "warning: 1 recording at 44,100 Hz became 16,000 Hz: all above 8,000 Hz is lost",
        "warning: 1 recording with several channels became mono",
    ]
    with Dataset.open(target) as opened:
        entry = opened.get("violin_69")
        assert (opened.features.sample_rate_hz, opened.features.n_fft, opened.features.range_db) == (16_000, 512, 60)
        assert opened.manifest.long == "keep"
    assert entry.labels == {"instrument": "violin", "pitch": 69}
    assert entry.duration_s == 2.0
    again = run("build", audio, target)  # with the dataset's own features
    assert "0 built, 1 reused" in again.stdout
    assert "recordings longer than a frame are kept as one spectrogram" in run("show", target).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hop-length", "200"), "use a hop length of 128"),
        (("--duration", "long"), "expected a number of seconds, or auto"),
        (("--preset", "loud"), "there is no preset 'loud'"),
        (("--preset", "digits", "--features", "f.json"), "choose one of --preset and --features"),
        (("--label-pattern", "x"), "--label-pattern 'x': expected names in braces"),
        (("--metadata", "missing.csv"), "is not an existing file"),
    ],
)
def test_wrong_options_of_build_are_refused_before_anything_is_written(
    recordings: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        run("build", recordings, tmp_path / "d", *options)
    assert not (tmp_path / "d").exists()
