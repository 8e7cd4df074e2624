"""Starts `wavemill worker` as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from wavemill.settings import Settings


@contextmanager
def worker_processes(
    settings: Settings,
    *,
    per_device: int,
    devices: str = "auto",
    metrics_port: int | None = None,
    log: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run a worker supervisor during the `with` statement, and then stop it with SIGTERM.

    Parameters
    ----------
    per_device : int >= 0
        Processes on each device; 0 starts none.
    metrics_port : int, optional
        Port of the workers' metrics; they serve none by default.
    log : binary file, optional
        Where its output goes; this process's standard error by default.
    """
    if per_device == 0:
        yield None
        return
    command = [sys.executable, "-m", "wavemill_producer.cli.main", "worker"]
    options = [f"--devices={devices}", f"--per-device={per_device}", f"--parent={os.getpid()}"]
    if metrics_port is not None:
        options.append(f"--metrics={metrics_port}")
    process = subprocess.Popen(
        [*command, *options],
        env={**os.environ, **settings.as_environment()},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(settings.stop_grace_s + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
