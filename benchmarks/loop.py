"""Run `benchmarks.bare_loop` as a process beside this one, with the threads of one worker on all cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.progress import tell


@contextmanager
def bare_loop(plan: Plan, dataset: Path) -> Iterator[Callable[[str, int], None]]:
    """Start it and wait until it is warm; yields a function: ("render" or "forward", number of clips)."""
    tell("starting the bare loop")
    threads = len(os.sched_getaffinity(0))
    arguments = [dataset, plan.models_dir / plan.model, plan.work / "bare", threads]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_loop", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "NUMBA_NUM_THREADS": str(threads)},
    ) as process:

        def expect(answer: str) -> None:
            if (said := process.stdout.readline().strip()) != answer:
                raise RuntimeError(f"the bare loop said {said!r} instead of {answer!r}")

        def run(what: str, n: int) -> None:
            process.stdin.write(f"{what} {n}\n")
            process.stdin.flush()
            expect("done")

        expect("ready")
        try:
            yield run
        finally:
            process.stdin.close()
