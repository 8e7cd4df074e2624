"""The command line as a whole: fast, documented, and clear about mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
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
        (["submit", "reconstruct"], 2, "Missing option"),
        (["status", "no-such-batch"], 1, "there is no batch 'no-such-batch'; list them with: wavemill status"),
        (["job", "12345"], 1, "there is no job 12345"),
        (["jobs", "--batch", "no-such-batch"], 1, "there is no batch"),
        (["wait", "no-such-batch"], 1, "there is no batch"),
        (["cancel", "no-such-batch"], 1, "there is no batch"),
        (["retry", "no-such-batch"], 1, "there is no batch"),
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
