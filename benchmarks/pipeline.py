"""The whole pipeline, from submit to the last WAV, against three ways to do without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.course import run_course_script
from benchmarks.first_attempt import FirstAttempt
from benchmarks.loop import bare_loop
from benchmarks.plan import Plan
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import finish, workers
from wavemill.dataset.index import Dataset
from wavemill.vae.package import load_model
from wavemill_producer.producer import Producer


def measure(plan: Plan) -> list[Row]:
    """Clips a second with one warm CPU worker on all cores; and a single job's time from submit to WAV."""
    folder = plan.dataset(plan.sizes.jobs)
    settings = plan.settings("pipeline")
    first = FirstAttempt(
        broker_url=settings.celery_broker_url,
        dataset=folder,
        model=plan.models_dir / plan.model,
        folder=plan.work / "first-attempt",
    )
    with workers(settings, count=1) as producer, Dataset.open(folder) as dataset, bare_loop(plan, folder) as bare:
        ids = list(dataset.ids())[: plan.sizes.jobs]
        model = load_model(plan.model, models_dir=plan.models_dir)
        queue = _queue(producer, plan, folder)
        fast_s = medians_s(
            {
                "through the queue": lambda: queue(ids),
                "the same kernels in a bare loop": lambda: bare("render", len(ids)),
                "the course's script": lambda: run_course_script(model, dataset, ids, plan.work / "course"),
            },
            plan.sizes.rounds,
        )
        with first.working():
            slow_s = medians_s(
                {"one Celery task a clip": lambda: first.render(ids[: plan.sizes.slow_jobs])},
                min(3, plan.sizes.rounds),
            )
            single_s = medians_s(
                {"one job": lambda: queue(ids[:1]), "one Celery task": lambda: first.render(ids[:1])},
                plan.sizes.single_jobs,
            )
    rate = len(ids) / fast_s["through the queue"]
    what = f"pipeline, submit to last WAV, {len(ids)} clips"
    return [
        Row.of_rates(
            what,
            rate,
            "clips/s",
            "the same kernels in a bare loop",
            len(ids) / fast_s["the same kernels in a bare loop"],
            goal="0.9 x",
        ),
        Row.of_rates(
            what, rate, "clips/s", "the course's script", len(ids) / fast_s["the course's script"], goal="12 x"
        ),
        Row.of_rates(
            what,
            rate,
            "clips/s",
            "one Celery task a clip",
            plan.sizes.slow_jobs / slow_s["one Celery task a clip"],
            goal="50 x",
        ),
        Row.of_times(
            "first job on a warm worker, submit to WAV",
            single_s["one job"],
            "one Celery task, warm",
            single_s["one Celery task"],
            goal="under 150 ms",
        ),
    ]


def _queue(producer: Producer, plan: Plan, dataset: Path) -> Callable[[list[str]], None]:
    def run(ids: list[str]) -> None:
        finish(producer.reconstruct(ids, dataset=dataset, model=plan.model, output=plan.work / "out"))

    return run
