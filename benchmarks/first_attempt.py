"""Run `benchmarks.one_task_a_clip`: its table, its worker process, its messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from benchmarks import one_task_a_clip as attempt
from benchmarks.progress import tell
from benchmarks.services import LONG_POLL_S, POLL_S, TIMEOUT_S


class FirstAttempt:
    """One Celery worker with the defaults: as many forked processes as there are cores."""

    def __init__(self, *, broker_url: str, dataset: Path, model: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._variables = {
            attempt.BROKER: broker_url,
            attempt.TABLE: f"sqlite:///{folder / 'clips.db'}",
            attempt.DATASET: str(dataset),
            attempt.MODEL: str(model),
            attempt.OUTPUT: str(folder),
        }
        self._engine = create_engine(self._variables[attempt.TABLE])
        attempt.Base.metadata.create_all(self._engine)
        attempt.app.conf.broker_url = broker_url

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the worker."""
        tell("starting a Celery worker with one task a clip")
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.one_task_a_clip", "worker", "--loglevel=WARNING"]
        with (self._folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **self._variables}, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._engine.dispose()

    def render(self, ids: Sequence[str]) -> None:
        """Submit one task for each ID and wait for all of them."""
        with Session(self._engine) as session:
            clips = [attempt.Clip(spectrogram_id=spectrogram_id) for spectrogram_id in ids]
            session.add_all(clips)
            session.commit()
            wanted = [clip.id for clip in clips]
        for clip_id in wanted:
            attempt.generate.delay(clip_id)
        deadline = time.monotonic() + TIMEOUT_S
        while self._done(wanted) < len(wanted):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(wanted)} tasks were not done in {TIMEOUT_S:.0f} s; see its worker.log")
            time.sleep(POLL_S if len(wanted) == 1 else LONG_POLL_S)

    def _done(self, wanted: Sequence[int]) -> int:
        done = select(func.count()).where(attempt.Clip.state == "done", attempt.Clip.id >= wanted[0])
        with Session(self._engine) as session:
            return session.scalar(done)
