"""Time several things in turn, so that a machine which others use slows all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.progress import tell

Run = Callable[[], object]


def medians_s(runs: Mapping[str, Run], rounds: int, *, warm_up: bool = True, quiet: bool = False) -> dict[str, float]:
    """Run each once to warm up, then all in turn, `rounds` times; return each one's median in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            elapsed_s = time.perf_counter() - started
            if not quiet:
                tell(f"{'warm-up' if number == 0 else f'round {number} of {rounds}'}: {name}, {elapsed_s:.2f} s")
            if number:
                seconds[name].append(elapsed_s)
    return {name: statistics.median(values) for name, values in seconds.items()}


def process(command: Sequence[object], environment: Mapping[str, str]) -> Run:
    """Return a run of a whole process, which must end well."""

    def run() -> None:
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, env=environment)

    return run
