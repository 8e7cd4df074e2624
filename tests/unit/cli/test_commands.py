"""The command line as a whole: fast, documented, and clear about mistakes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from wavemill_producer.cli.main import COMMANDS, cli, run

REPOSITORY = Path(__file__).parents[3]
HEAVY = {"numpy", "sqlalchemy", "celery", "tensorflow", "keras", "librosa", "numba", "rich", "pydantic", "alembic"}


def _commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")


ALL = dict(_commands(cli))


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = "from wavemill_producer.cli.main import run\nassert run(['--help']) == 0"
    assert not _modules_after(code) & HEAVY


def test_the_light_side_runs_without_numpy_and_tensorflow() -> None:
    code = "import wavemill_producer\nwavemill_producer.Producer\nimport wavemill_producer.cli.submit"
    assert not _modules_after(code) & {"numpy", "tensorflow", "keras", "librosa", "numba"}


def test_the_worker_imports_no_tensorflow_before_its_child_does() -> None:
    code = "import wavemill_worker.supervisor, wavemill_worker.process, wavemill_worker.tasks, wavemill_worker.child"
    assert not _modules_after(code) & {"tensorflow", "keras", "numpy"}


def test_an_export_into_no_folder_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from support.batches import submit

    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import upgrade

    database = Database(f"sqlite:///{tmp_path}/wavemill.db")
    upgrade(database)
    batch_id = submit(database, 1)
    database.close()
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path))
    assert run(["export", batch_id, "--format", "csv", "--output", str(tmp_path / "none/x.csv")]) == 2
    assert re.search("cannot be written: No such file or directory; name a file in a folder", capsys.readouterr().err)


def test_a_tilde_behind_an_option_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for command, arguments, name in (
        ("submit sample", ["--model=~/m", "--output=~/o", "--count=1"], "output"),
        ("demo", ["--folder=~/o"], "folder"),
        ("export", ["B", "--format=csv", "--output=~/o"], "output"),
    ):
        context = ALL[command].make_context(command, arguments)
        found = context.params[name]
        assert str(found) == f"{tmp_path}/o"


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not isinstance(command, click.Group)])
def test_each_command_has_help_with_an_example(name: str) -> None:
    command = ALL[name]
    assert command.help is not None
    assert f"Example: wavemill {name}" in f"{command.help}{command.epilog}", "an example that can be copied"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name} {parameter.name} has no help"


def test_each_command_stands_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    missing = [name for name in COMMANDS if not re.search(rf"wavemill (\w+\\\|)*{name}\b|\|{name}\b", readme)]
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["statsu"], 2, "Did you mean 'status'?"),
        (["submit", "reconstruct"], 2, "Missing option"),
        (["status", "no-such-batch"], 1, "there is no batch 'no-such-batch'; list them with: wavemill status"),
        (["job", "12345"], 1, "there is no job 12345"),
        (["jobs", "--batch", "no-such-batch"], 1, "there is no batch"),
        (["wait", "no-such-batch"], 1, "there is no batch"),
        (["cancel", "no-such-batch"], 1, "there is no batch"),
        (["retry", "no-such-batch"], 1, "there is no batch"),
        (["export", "no-such-batch", "--format", "csv"], 1, "there is no batch"),
        (["export", "no-such-batch", "--format", "csv", "--json"], 2, "name a file with --output"),
        (["gc", "--older-than", "soon"], 2, "expected a number and s, m, h, d or w"),
        (["dataset", "show", "nowhere"], 1, "nowhere"),
        (["dataset", "build", "nowhere", "dataset"], 1, "nowhere"),
        (["worker", "--devices", "7"], 2, "there is no GPU 7"),
        (["worker", "--devices", "all"], 2, "no GPU was found"),
    ],
)
def test_mistakes_get_one_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run(arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WAVEMILL_CHUNK_SIZE", "0"), ("WAVEMILL_LEASE_S", "soon"), ("WAVEMILL_DATABASE_URL", "nonsense")],
)
def test_a_bad_setting_is_named(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    assert run(["status"]) == 2
    assert variable in capsys.readouterr().err


def test_a_database_that_is_down_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAVEMILL_DATABASE_URL", "postgresql://someone:secret@127.0.0.1:1/nothing")
    assert run(["status"]) == 1
    error = capsys.readouterr().err
    assert "does not answer" in error
    assert "WAVEMILL_DATABASE_URL" in error
    assert "secret" not in error


def test_the_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    environment = {**os.environ, "WAVEMILL_HOME": str(tmp_path), "WAVEMILL_BROKER_URL": "redis://:secret@127.0.0.1:1/0"}
    command = [sys.executable, "-m", "wavemill_producer.cli.main", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    wrong = {finding["name"] for finding in report["findings"] if not finding["ok"]}
    assert wrong == {"broker"}
    assert "secret" not in done.stdout + done.stderr
    assert {setting["name"] for setting in report["settings"]} >= {"WAVEMILL_HOME", "WAVEMILL_CHUNK_SIZE"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "expected text in UTF-8"), (b"\xef\xbb\xbf7_anna_0\n", "would queue 1 job in")],
)
def test_a_file_of_ids_may_begin_with_a_mark_and_must_be_text(
    content: bytes, said: str, tmp_path: Path, small_dataset: Path, models: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WAVEMILL_MODELS", str(models))
    ids = tmp_path / "ids"
    ids.write_bytes(content)
    options = ["--dataset", str(small_dataset), "--model", "small", "--output", str(tmp_path / "out")]
    run(["submit", "reconstruct", *options, "--ids", str(ids), "--dry-run"])
    assert said in "".join(capfd.readouterr())


def test_an_output_url_of_an_unknown_kind_is_refused_at_once(
    tmp_path: Path,
    small_dataset: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WAVEMILL_MODELS", str(models))
    options = ["--dataset", str(small_dataset), "--model", "small", "--all", "--dry-run"]
    assert run(["submit", "reconstruct", *options, "--output", "foo://bucket"]) == 2
    assert "fsspec has no storage for" in capfd.readouterr().err
    assert run(["submit", "reconstruct", *options, "--output", "s3://bucket"]) == 0  # s3fs is the workers' affair


def test_a_job_number_beyond_what_tables_hold_is_an_error_of_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["job", "9" * 25]) == 1
    assert run(["jobs", "--after", "9" * 25]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_without_models_is_said_to_have_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "list", "--models", str(tmp_path)]) == 0
    assert f"no model in {tmp_path}" in capfd.readouterr().err


def test_training_overwrites_nothing_unasked(
    tmp_path: Path, small_dataset: Path, models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("keep me")
    unfinished = tmp_path / "unfinished"
    (unfinished / ".training").mkdir(parents=True)
    for folder, said in (
        (mine, "other files"),
        (mine / "README.md", "is a file"),
        (models / "small", "--overwrite"),
        (unfinished, "--resume"),
    ):
        assert run(["train", str(small_dataset), str(folder), "--epochs", "1"]) == 2
        assert said in capfd.readouterr().err
    assert (mine / "README.md").read_text() == "keep me"


def test_watching_for_people_and_json_for_programs_exclude_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--watch", "--json"]) == 2
    assert "choose one" in capfd.readouterr().err


def test_a_table_that_is_no_database_or_of_a_newer_version_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path))
    assert run(["status"]) == 0
    with closing(sqlite3.connect(tmp_path / "wavemill.db")) as table, table:
        table.execute("UPDATE alembic_version SET version_num = '9999'")
    assert run(["status"]) == 1
    assert "update wavemill here" in capfd.readouterr().err
    for file in tmp_path.glob("wavemill.db*"):
        file.unlink()
    (tmp_path / "wavemill.db").write_text("garbage" * 1_000)
    assert run(["status"]) == 1
    assert "file is not a database" in capfd.readouterr().err
