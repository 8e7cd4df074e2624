"""The whole pipeline, from submit to the last WAV, one worker a core, against three ways to do without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from benchmarks.course import run_course_script
from benchmarks.first_attempt import FirstAttempt
from benchmarks.loop import bare_loop
from benchmarks.plan import Plan
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import LONG_POLL_S, POLL_S, finish, workers
from wavemill.dataset.index import Dataset
from wavemill.operations.requests import VaryParams
from wavemill.vae.package import load_model
from wavemill_producer.producer import Producer

_OURS, _BARE, _COURSE, _CELERY = (
    "through the queue",
    "the same kernels in a bare loop",
    "the course's script",
    "one Celery task a clip",
)
_OURS_ALONE, _COURSE_ALONE = f"{_OURS}, no originals", f"{_COURSE}, no originals"
_Queue: TypeAlias = Callable[[list[str]], None]
_Bare: TypeAlias = Callable[[str, int], None]
_GOALS = {_BARE: "0.9 x", _COURSE: "12 x", _CELERY: "50 x"}


def measure(plan: Plan) -> list[Row]:
    """Clips a second of warm CPU workers, in either precision; and a single job's time from submit to WAV."""
    folder = plan.dataset(plan.sizes.jobs)
    with Dataset.open(folder) as dataset:
        ids = list(dataset.ids())[: plan.sizes.jobs]
        model = load_model(plan.model, models_dir=plan.models_dir)
        script_s = medians_s(
            {
                _COURSE: lambda: run_course_script(model, dataset, ids, plan.work / "course"),
                _COURSE_ALONE: lambda: run_course_script(model, dataset, ids, plan.work / "course", originals=False),
            },
            min(3, plan.sizes.rounds),
        )
    rates = {name: len(ids) / seconds for name, seconds in script_s.items()}
    with _rendering(plan, folder) as (producer, bare):
        rates |= _rates(plan, ids, producer, folder, bare)
        queue = _queue(producer, plan, folder)
        slow_rates, single_s = _first_attempt(plan, folder, ids, queue, broker_url=producer.settings.celery_broker_url)
    rates |= slow_rates
    with _rendering(plan, folder, mixed_precision=True) as (producer, bare):
        mixed_rates = rates | _rates(plan, ids, producer, folder, bare)
    what = f"pipeline, submit to last WAV, {len(ids)} clips"
    return [
        *_rows(what, rates),
        *_rows(f"{what}, mixed precision", mixed_rates),
        Row.of_times(
            "first job on a warm worker, submit to WAV",
            single_s["one job"],
            "one Celery task, warm",
            single_s["one Celery task"],
            goal="under 150 ms",
        ),
    ]


@contextmanager
def _rendering(plan: Plan, folder: Path, *, mixed_precision: bool = False) -> Iterator[tuple[Producer, _Bare]]:
    """Run a worker on each core, and a bare loop on each that idles meanwhile."""
    settings = plan.settings(f"pipeline-{mixed_precision}", threads=1, mixed_precision=mixed_precision)
    with (
        workers(settings, count=len(os.sched_getaffinity(0))) as producer,
        bare_loop(plan, folder, mixed_precision=mixed_precision) as bare,
    ):
        yield producer, bare


def _rates(plan: Plan, ids: list[str], producer: Producer, folder: Path, bare: _Bare) -> dict[str, float]:
    queue, queue_alone = _queue(producer, plan, folder), _queue_without_originals(producer, plan, folder)
    seconds = medians_s(
        {
            _OURS: lambda: queue(ids),
            _BARE: lambda: bare("render", len(ids)),
            _OURS_ALONE: lambda: queue_alone(ids),
        },
        plan.sizes.rounds,
    )
    return {name: len(ids) / taken for name, taken in seconds.items()}


def _first_attempt(
    plan: Plan, folder: Path, ids: list[str], queue: _Queue, *, broker_url: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the rate of one Celery task a clip, and the seconds of a single job either way."""
    first = FirstAttempt(
        broker_url=broker_url,
        dataset=folder,
        model=plan.models_dir / plan.model,
        folder=plan.work / "first-attempt",
    )
    some = ids[: plan.sizes.slow_jobs]
    with first.working():
        slow_s = medians_s({_CELERY: lambda: first.render(some)}, min(3, plan.sizes.rounds))
        single_s = medians_s(
            {"one job": lambda: queue(ids[:1]), "one Celery task": lambda: first.render(ids[:1])},
            plan.sizes.single_jobs,
        )
    return {_CELERY: len(some) / slow_s[_CELERY]}, single_s


def _rows(what: str, rates: Mapping[str, float]) -> Iterator[Row]:
    for baseline, goal in _GOALS.items():
        yield Row.of_rates(what, rates[_OURS], "clips/s", baseline, rates[baseline], goal=goal)
    yield Row.of_rates(
        f"{what}, no originals",
        rates[_OURS_ALONE],
        "clips/s",
        _COURSE_ALONE,
        rates[_COURSE_ALONE],
        goal=_GOALS[_COURSE],
        remark="here `vary` at temperature 0, which reconstructs",
    )


def _queue(producer: Producer, plan: Plan, dataset: Path) -> _Queue:
    def run(ids: list[str]) -> None:
        batch = producer.reconstruct(ids, dataset=dataset, model=plan.model, output=plan.work / "out")
        finish(batch, poll_s=POLL_S if len(ids) == 1 else LONG_POLL_S)

    return run


def _queue_without_originals(producer: Producer, plan: Plan, dataset: Path) -> _Queue:
    def run(ids: list[str]) -> None:
        params = VaryParams(temperature=0.0, seed=0)
        output = plan.work / "out"
        finish(producer.vary(ids, dataset=dataset, model=plan.model, output=output, count=1, params=params))

    return run
