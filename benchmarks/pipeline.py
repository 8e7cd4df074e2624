"""The whole pipeline, from submit to the last WAV, against the course's script; and the rate of submitting."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.course import run_course_script
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.settings import Settings
from wavemill.vae.package import load_model
from wavemill_producer.embedded import embedded_broker
from wavemill_producer.producer import Producer
from wavemill_producer.workers import worker_processes


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One line of the table: what was measured, in what unit, against which baseline."""

    what: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float


def measure_pipeline(work: Path, clips: Path, *, model: str, n_jobs: int, rounds: int) -> Ratio:
    """Clips per second through the queue with one warm CPU worker, against the course's script, in turn."""
    dataset_dir = _copies(clips, work, n_jobs)
    settings = Settings(home=work / "home")
    loaded = load_model(model, models_dir=settings.models)
    with Dataset.open(dataset_dir) as dataset, _running(settings, work) as producer:
        ids = list(dataset.ids())[:n_jobs]

        def through_the_queue() -> None:
            batch = producer.reconstruct(ids, dataset=dataset_dir, model=model, output=work / "out")
            if batch.wait(poll_s=0.02, timeout_s=300) != "done":
                raise RuntimeError(f"batch {batch.id} did not finish well: {batch.status()}")

        def course() -> None:
            run_course_script(loaded, dataset, ids, work / "course")

        ours_s, course_s = _in_turn([through_the_queue, course], rounds)
    return Ratio(
        what=f"pipeline, submit to last WAV, {n_jobs} clips, one CPU worker",
        value=n_jobs / ours_s,
        unit="clips/s",
        baseline="course's script",
        baseline_value=n_jobs / course_s,
        ratio=course_s / ours_s,
    )


def measure_submit(work: Path, clips: Path, *, model: str, n_ids: int, rounds: int) -> Ratio:
    """Seconds to submit IDs through the command line, whole process, on embedded defaults."""
    dataset_dir = _copies(clips, work, 20)
    ids_file = work / "ids.txt"
    ids_file.write_text("\n".join(f"clip-{k}" for k in range(n_ids)))
    settings = Settings(home=work / "submit-home")
    options = [
        "--dataset",
        dataset_dir,
        "--model",
        model,
        "--output",
        work / "out",
        "--ids",
        ids_file,
        "--no-check-ids",
    ]
    command = [sys.executable, "-m", "wavemill_producer.cli.main", "submit", "reconstruct", *map(str, options)]
    environment = {**os.environ, **settings.as_environment()}
    with embedded_broker(settings):
        Producer(settings).close()
        seconds = _median_s(command, rounds, environment)
    return Ratio(
        what=f"submit {n_ids:,} IDs, whole process",
        value=seconds,
        unit="s",
        baseline="target",
        baseline_value=3.0,
        ratio=3.0 / seconds,
    )


def measure_help(rounds: int) -> Ratio:
    """Seconds of `wavemill --help`, whole process."""
    seconds = _median_s([sys.executable, "-m", "wavemill_producer.cli.main", "--help"], rounds, dict(os.environ))
    return Ratio(
        what="wavemill --help", value=seconds, unit="s", baseline="target", baseline_value=0.3, ratio=0.3 / seconds
    )


def _copies(clips: Path, work: Path, n: int) -> Path:
    """Build a dataset of at least `n` clips: the given ones, copied into as many folders as it takes."""
    found = sorted(clips.rglob("*.wav"))
    audio = work / f"audio-{n}"
    for k in range(-(-n // len(found))):
        (audio / f"set-{k}").mkdir(parents=True)
        for path in found:
            shutil.copy(path, audio / f"set-{k}" / path.name)
    from wavemill.presets import DEFAULT_PRESET, preset

    build(audio, work / f"dataset-{n}", preset(DEFAULT_PRESET))
    return work / f"dataset-{n}"


@contextmanager
def _running(settings: Settings, work: Path) -> Iterator[Producer]:
    """Embedded servers and one warm worker on the CPU."""
    with (
        embedded_broker(settings),
        (work / "worker.log").open("wb") as log,
        Producer(settings) as producer,
        worker_processes(settings, per_device=1, devices="cpu", log=log),
    ):
        yield producer


def _in_turn(runs: list, rounds: int) -> list[float]:
    """Run each once to warm up, then in turn; return each one's median in seconds."""
    seconds: list[list[float]] = [[] for _ in runs]
    for counted in [False, *[True] * rounds]:
        for k, run in enumerate(runs):
            started = time.perf_counter()
            run()
            if counted:
                seconds[k].append(time.perf_counter() - started)
    return [statistics.median(values) for values in seconds]


def _median_s(command: list[str], rounds: int, environment: dict[str, str]) -> float:
    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    return _in_turn([run], rounds)[0]
