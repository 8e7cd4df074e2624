"""What a piece of code may ask of memory, judged in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_MEASURED = """
import resource
{before}
base_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {code}
except Exception as exc:
    print(f"{{type(exc).__name__}}: {{exc}}")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base_kb) // 1024)
"""


def run_measured(code: str, *, before: str, timeout_s: float = 120) -> tuple[str, int]:
    """Run `code` after `before` in a new process; return its error as `Name: sentence`, and MiB above `before`'s peak.

    A process that dies, such as of its memory, fails the test.
    """
    script = _MEASURED.format(before=before, code=code)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    *said, peak_mib = done.stdout.rstrip("\n").split("\n")
    return "\n".join(said), int(peak_mib)
