from __future__ import annotations

import subprocess
import sys

CHILD = """
import sys, time
from wavemill_worker.parent import end_with_parent
print(end_with_parent(int(sys.argv[1])), flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_process_ends_with_a_parent_that_is_killed() -> None:
    # The child holds the pipe: reading its end returns when both processes have ended.
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, timeout=20)
    assert (done.stdout, done.returncode) == (b"True\n", -9)


def test_a_process_whose_parent_is_gone_is_told_so() -> None:
    code = CHILD.replace("time.sleep(60)", "")
    done = subprocess.run([sys.executable, "-c", code, "1"], capture_output=True, check=True)
    assert done.stdout == b"False\n"
