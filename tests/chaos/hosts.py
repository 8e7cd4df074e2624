"""Machines of the arena: each a supervisor with a folder of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

WAVEMILL = [sys.executable, "-m", "wavemill_producer.cli.main"]


@dataclass
class Host:
    """A supervisor; whoever looks after the machine starts it again when it dies."""

    name: str
    folder: Path
    environment: Mapping[str, str]
    options: list[str]
    process: subprocess.Popen[bytes] | None = None
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def make(cls, name: str, folder: Path, environment: Mapping[str, str], options: list[str]) -> Host:
        """Give a host its folder and its name."""
        folder.mkdir()
        own = {"WAVEMILL_HOME": str(folder / "home"), "WAVEMILL_WORKER_NAME": name}
        return cls(name=name, folder=folder, environment={**environment, **own}, options=options)

    def tend(self) -> None:
        """Start the supervisor if it does not run."""
        if self.process is None or self.process.poll() is not None:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*WAVEMILL, "worker", *self.options], env=self.environment, cwd=self.folder, stdout=log, stderr=log
                )

    @property
    def pid(self) -> int:
        """Of the supervisor that runs, or ran last."""
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """End it in good order; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def log(self) -> str:
        """What it and its processes have said."""
        return (self.folder / "log").read_text(errors="replace")

    def log_bytes_per_minute(self) -> float:
        """How fast its log has grown; a short run counts as a minute."""
        return (self.folder / "log").stat().st_size / max(1.0, (time.monotonic() - self.began) / 60)
