"""The benchmark suite in its small form: real servers, real workers, every part."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Part -> how some row of it begins.
ROWS = {
    "inversion": "inversion, course, pghi+gl",
    "reading": "reading a spectrogram, packed",
    "forward": "forward pass, one clip",
    "pipeline": "pipeline, submit to last WAV",
    "workers": "two workers, one core each",
    "start": "worker start to first job",
    "submit": "submit 300 IDs, PostgreSQL",
    "table": "cancel, 500 jobs, SQLite",
    "floor": "a clip on all cores: whole pipeline",
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.timeout(1_800)
def test_the_small_form_fills_one_table_and_keeps_it(tmp_path: Path) -> None:
    done = run("--small", "--keep", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "results").iterdir()
    text = kept.read_text()
    assert done.stdout.strip() == text.strip()
    assert text.count("| what | here | baseline |") == 1
    missing = [part for part, begin in ROWS.items() if f"| {begin}" not in text]
    assert not missing, done.stderr
    ratios = [float(ratio.replace(",", "")) for ratio in re.findall(r"\| ([\d.,]+) x \|", text)]
    assert len(ratios) == text.count("\n| ") - 1
    assert all(ratio > 0 for ratio in ratios)
    assert str(REPOSITORY) not in text
    assert socket.gethostname() not in text


def test_an_unknown_part_is_refused_with_the_names_of_all() -> None:
    done = run("pipelin")
    assert done.returncode == 2
    assert "there is no part pipelin; choose from: inversion, reading, forward" in done.stderr
