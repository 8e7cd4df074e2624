"""Names, IDs and errors of others reach no terminal, log or error sentence in a form that acts on it."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HOSTILE = "\x1b]0;owned\x07\x1b[31mRED\x9b2J\u202ekcab\u200b\x7f\nwavemill: forged"
ACTS = re.compile("\x1b(?!\\[[0-9;?]*[a-zA-Z])|\x1b\\[31m|\x07|\x9b|\x7f|\u202e|\u200b")  # Rich's own colours may be


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "WAVEMILL_HOME": str(home), "WAVEMILL_MODELS": str(REPOSITORY / "models"), **more}


def wavemill(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "wavemill_producer.cli.main", *arguments],
        env=environment(home, **more),
        capture_output=True,
        timeout=120,
        check=False,
    )


def on_a_terminal(home: Path, *arguments: str) -> str:
    """Run a command on a pseudo-terminal and return all that it wrote."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wavemill_producer.cli.main", *arguments],
        env=environment(home, COLUMNS="400"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    written = b""
    try:
        while piece := os.read(leader, 65_536):
            written += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(leader)
        process.wait(60)
    return written.decode()


@pytest.fixture
def batch_id(tmp_path: Path) -> str:
    """A batch whose row an older version, or another program, has written."""
    done = wavemill(
        tmp_path, "submit", "sample", "--model", "fsdd-vae", "--count", "2", "--output", str(tmp_path), "--json"
    )
    batch = str(json.loads(done.stdout)["batch_id"])
    with closing(sqlite3.connect(tmp_path / "wavemill.db")) as connection, connection:
        connection.execute("UPDATE batches SET name = ?, output = ?", (HOSTILE, f"s3://key:sesame@bucket/{HOSTILE}"))
        connection.execute("UPDATE jobs SET error = ?, spectrogram_id = ? WHERE seq = 0", (HOSTILE, HOSTILE))
    return batch


def test_no_command_lets_a_name_or_an_error_act_on_the_terminal(tmp_path: Path, batch_id: str) -> None:
    commands = [["status"], ["status", batch_id], ["jobs"], ["job", "1"], ["gc", "--older-than", "0s", "--dry-run"]]
    commands += [["cancel", batch_id], ["wait", batch_id], ["status", HOSTILE.replace("\x00", "")]]
    for command in commands:
        written = on_a_terminal(tmp_path, *command)
        assert not ACTS.search(written), (command, written)
        assert "\nwavemill: forged" not in written, command
        assert "sesame" not in written, command


def test_json_is_exact_and_has_no_control_character(tmp_path: Path, batch_id: str) -> None:
    for command in (["status", batch_id, "--json"], ["jobs", "--json"], ["job", "1", "--json"]):
        written = wavemill(tmp_path, *command).stdout.decode()
        assert not ACTS.search(written)
        assert HOSTILE in json.dumps([json.loads(line) for line in written.splitlines()], ensure_ascii=False).replace(
            "\\n", "\n"
        ).replace("\\u001b", "\x1b").replace("\\u0007", "\x07")


@pytest.mark.parametrize("name", ["\x1b[31mRED", "two\nlines", "\x9b31m", b"\xff".decode(errors="surrogateescape")])
def test_a_name_with_control_characters_is_refused(tmp_path: Path, name: str) -> None:
    done = wavemill(tmp_path, "submit", "sample", "--model", "fsdd-vae", "--output", str(tmp_path), "--name", name)
    assert done.returncode == 2
    assert b"expected text without control characters" in done.stderr
    assert not ACTS.search(done.stderr.decode())


def test_a_name_in_any_script_is_kept(tmp_path: Path) -> None:
    arguments = ["--model", "fsdd-vae", "--output", str(tmp_path), "--name", "Straße 日本 🎵", "--json"]
    batch = json.loads(wavemill(tmp_path, "submit", "sample", *arguments).stdout)["batch_id"]
    assert json.loads(wavemill(tmp_path, "status", batch, "--json").stdout)["name"] == "Straße 日本 🎵"
    assert "Straße 日本 🎵" in wavemill(tmp_path, "status", batch).stdout.decode()


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("BROKER", "redis://user:p@sesame@127.0.0.1:1/0"),
        ("BROKER", "redis://127.0.0.1:1/0?password=sesame"),
        ("BROKER", "redis+socket:///nowhere/valkey.sock?password=sesame"),
        ("BROKER", "sentinel://:sesame@127.0.0.1:1;sentinel://:sesame@127.0.0.1:1"),
        ("BROKER", "redis://:sesame@127.0.0.1:1;redis://:sesame@127.0.0.1:1"),
        ("BROKER", "redis://:pa#sesame@127.0.0.1:1/0"),
        ("BROKER", "redis://:12/sesame@127.0.0.1:1"),
        ("BROKER", "kafka://:sesame@127.0.0.1:1"),
        ("DATABASE", "postgresql://u:sesame@127.0.0.1:1/x"),
        ("DATABASE", "postgresql://127.0.0.1:1/x?user=u&password=sesame&sslpassword=sesame"),
        ("DATABASE", "postgresql://u:p@sesame@127.0.0.1:1/x"),
        ("DATABASE", "nonsense://u:sesame@127.0.0.1:1/x"),
    ],
)
def test_no_password_reaches_the_terminal(tmp_path: Path, setting: str, url: str) -> None:
    submit = ("submit", "sample", "--model", "fsdd-vae", "--output", str(tmp_path))
    for command in (("doctor",), ("doctor", "--json"), submit, ("status",)):
        done = wavemill(tmp_path, *command, **{f"WAVEMILL_{setting}_URL": url})
        written = (done.stdout + done.stderr).decode()
        assert "sesame" not in written, command
        assert "Traceback" not in written, command
