"""Opening the table."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

_OPEN_NEW_FILES = """
import sys, time
from pathlib import Path
from wavemill.jobs.database import Database

folder, count, start = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for k in range(count):
    database = Database(f"sqlite:///{folder / f'{k}.db'}")
    while time.time() < start + k * 0.1:
        pass
    with database.transaction():
        pass
    database.close()
"""


def test_processes_that_open_a_new_sqlite_file_at_the_same_moment_all_succeed(tmp_path: Path) -> None:
    """SQLite refuses one of two switches to WAL without waiting: of 50 moments, some dozen meet."""
    arguments = [sys.executable, "-c", _OPEN_NEW_FILES, str(tmp_path), "50", str(time.time() + 5)]
    processes = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
