"""What the terminal shows: the watch, IDs in narrow terminals, completion and players."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from support.batches import all_done, claim, finish, new_jobs, request

from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch

_COMMAND = [sys.executable, "-m", "wavemill_producer.cli.main"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "WAVEMILL_DATABASE_URL": f"sqlite:///{tmp_path / 'table.db'}", "TERM": "xterm"}


@pytest.fixture
def batch_id(environment: dict[str, str], tmp_path: Path) -> str:
    """A batch of two jobs that are done; the first has a sound."""
    database = Database(environment["WAVEMILL_DATABASE_URL"])
    upgrade(database)
    batch_id, _ = write_batch(database, request(), new_jobs(["a_rather_long_name_of_a_clip", "b"]))
    claimed = claim(database, batch_id, 0, 1)
    sound = tmp_path / "tone.wav"
    soundfile.write(sound, [0.5, -0.5] * 100, 8_000)
    first = Outcome(job=claimed.jobs[0], state=State.DONE, columns={"generated_path": str(sound)})
    finish(database, claimed, [first, all_done(claimed)[1]])
    database.close()
    return batch_id


def _run(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = subprocess.run([*_COMMAND, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def _in_terminal(environment: dict[str, str], *arguments: str) -> str:
    """Run a command in a pseudo-terminal; return all that it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*_COMMAND, *arguments], env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return said.decode()


def test_the_watch_draws_a_bar_and_never_clears_the_screen(environment: dict[str, str], batch_id: str) -> None:
    said = _in_terminal(environment, "status", batch_id, "--watch")
    assert "█ 100%" in said
    assert "done: 2 done of 2" in said
    assert "\x1b[2J" not in said, "clearing the screen flickers"
    assert said.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_no_id_is_cut_in_a_narrow_terminal(environment: dict[str, str], batch_id: str) -> None:
    said = _in_terminal({**environment, "COLUMNS": "30"}, "jobs")
    assert f"1    {batch_id}  a_rather_long_name_of_a_clip" in said


def test_wait_takes_several_batches(environment: dict[str, str], batch_id: str) -> None:
    lines = _run(environment, "wait", batch_id, batch_id, "--json").splitlines()
    assert [json.loads(line)["id"] for line in lines if line.startswith("{")] == [batch_id, batch_id]


def test_the_shell_completes_batches_and_commands(environment: dict[str, str], batch_id: str) -> None:
    ask = {**environment, "_WAVEMILL_COMPLETE": "bash_complete"}
    assert f"plain,{batch_id}" in _run({**ask, "COMP_WORDS": "wavemill wait ", "COMP_CWORD": "2"})
    assert _run({**ask, "COMP_WORDS": "wavemill pla", "COMP_CWORD": "1"}).strip() == "plain,play"
    script = _run(environment, "completion", "bash")
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "_WAVEMILL_COMPLETE=bash_complete" in script


def test_play_gives_the_sound_to_the_player(environment: dict[str, str], batch_id: str, tmp_path: Path) -> None:
    player = tmp_path / "player"
    player.write_text(f'#!/bin/sh\ncp "$2" {tmp_path}/heard.wav\n')
    player.chmod(0o755)
    _run(environment, "play", "1", "--player", f"{player} --quiet")
    assert (tmp_path / "heard.wav").read_bytes() == (tmp_path / "tone.wav").read_bytes()
    assert "no original sound" in _run(environment, "play", "1", "--original", "--player", str(player), code=2)
    assert "no player is installed (looked for mpv" in _run({**environment, "PATH": ""}, "play", "1", code=1)
