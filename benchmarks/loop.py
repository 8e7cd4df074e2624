"""Run `benchmarks.bare_loop` as processes beside this one: one a core, each with one thread, as workers are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.plan import Plan
from benchmarks.progress import tell


@contextmanager
def bare_loop(
    plan: Plan, dataset: Path, *, mixed_precision: bool = False, cores: int | None = None
) -> Iterator[Callable[[str, int], None]]:
    """Start it and wait until it is warm; yields a function: ("render" or "forward", number of clips in all)."""
    cores = cores or len(os.sched_getaffinity(0))
    tell("starting the bare loop")
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_process(plan, dataset, number, mixed_precision=mixed_precision))
            for number in range(cores)
        ]
        for process in processes:
            _expect(process, "ready")

        def run(what: str, n: int) -> None:
            for number, process in enumerate(processes):
                process.stdin.write(f"{what} {n * number // cores} {n * (number + 1) // cores}\n")
                process.stdin.flush()
            for process in processes:
                _expect(process, "done")

        yield run


@contextmanager
def _process(plan: Plan, dataset: Path, number: int, *, mixed_precision: bool) -> Iterator[subprocess.Popen[str]]:
    arguments = [dataset, plan.models_dir / plan.model, plan.work / f"bare-{number}", int(mixed_precision)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_loop", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.stdin.close()


def _expect(process: subprocess.Popen[str], answer: str) -> None:
    if (said := process.stdout.readline().strip()) != answer:
        raise RuntimeError(f"the bare loop said {said!r} instead of {answer!r}")
