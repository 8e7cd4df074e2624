"""A build that is killed, in a process of its own, and the build that goes on after it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError
from wavemill.presets import preset

CLIPS = 1_500
PROGRAM = """
import sys
from wavemill.dataset.build import build
from wavemill.presets import preset

if __name__ == "__main__":
    try:
        build(sys.argv[1], sys.argv[2], preset("digits"), jobs=int(sys.argv[3]), packed=sys.argv[4] == "packed")
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3_000)
    for k in range(CLIPS):
        soundfile.write(folder / f"{k % 10}_eve_{k}.wav", np.roll(noise, k), 8_000)
    return folder


def rows(dataset: Path) -> int:
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{(dataset / 'index.sqlite').as_uri()}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM spectrograms").fetchone()[0])
        finally:
            connection.close()
    return 0


def start(recordings: Path, dataset: Path, *, jobs: int, packed: bool = False) -> subprocess.Popen[bytes]:
    form = "packed" if packed else "files"
    command = [sys.executable, "-c", PROGRAM, str(recordings), str(dataset), str(jobs), form]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)


def wait_until_some_are_built(dataset: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while rows(dataset) < 128:
        assert process.poll() is None, "the build ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)  # between looks at what another process writes


def processes_of_session(session: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(stat.parent.name)
    return found


def wait_until_all_have_ended(session: int) -> None:
    """One that the kernel is still taking down is listed for a moment after its parent has ended."""
    deadline = time.monotonic() + 30
    while left := processes_of_session(session):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


@pytest.mark.parametrize(("jobs", "packed"), [(1, False), (2, False), (2, True)])
def test_a_build_that_was_killed_is_continued(recordings: Path, tmp_path: Path, jobs: int, packed: bool) -> None:
    target = tmp_path / "dataset"
    process = start(recordings, target, jobs=jobs, packed=packed)
    wait_until_some_are_built(target, process)
    with pytest.raises(DatasetError, match="is being built by another process"):
        build(recordings, target, preset("digits"))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(DatasetError, match="was not built to the end"):
        Dataset.open(target)
    wait_until_all_have_ended(process.pid)  # its children notice that it is gone
    report = build(recordings, target, preset("digits"), jobs=1)
    assert report.reused >= 128
    assert report.built + report.reused == CLIPS
    assert not (target / ".building").exists()
    with Dataset.open(target) as opened:
        assert opened.manifest.packed is packed
        assert opened.count == CLIPS
        for entry in opened.get_many(list(opened.ids())).values():
            read_spectrogram(opened, entry)  # checks the SHA-256 too


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_all_processes_and_keeps_what_is_done(recordings: Path, tmp_path: Path, jobs: int) -> None:
    target = tmp_path / "dataset"
    process = start(recordings, target, jobs=jobs)
    wait_until_some_are_built(target, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == b""  # the children end quietly
    wait_until_all_have_ended(process.pid)
    assert build(recordings, target, preset("digits"), jobs=1).reused >= 128
