"""Two worker processes against one, each with one thread and a core; and what two bare loops are worth here."""

from __future__ import annotations

import os

from benchmarks.loop import bare_loop
from benchmarks.plan import Plan
from benchmarks.progress import tell
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import finish, workers
from wavemill.dataset.index import Dataset
from wavemill_producer.producer import Producer


def measure(plan: Plan) -> list[Row]:
    """Clips a second of both, in turn; each has a broker and a table of its own, and the other idles meanwhile."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        tell("one core alone cannot say what two workers are worth")
        return []
    folder = plan.dataset(plan.sizes.jobs)
    with (
        Dataset.open(folder) as dataset,
        workers(plan.settings("one", threads=1), count=1, cores={cores[0]}) as one,
        workers(plan.settings("two", threads=1), count=2, cores=set(cores[:2])) as two,
        bare_loop(plan, folder, cores=1) as bare_one,
        bare_loop(plan, folder, cores=2) as bare_two,
    ):
        ids = list(dataset.ids())[: plan.sizes.jobs]

        def render(producer: Producer) -> None:
            finish(producer.reconstruct(ids, dataset=folder, model=plan.model, output=plan.work / "out"))

        seconds = medians_s(
            {
                "two workers": lambda: render(two),
                "one worker": lambda: render(one),
                "two bare loops": lambda: bare_two("render", len(ids)),
                "one bare loop": lambda: bare_one("render", len(ids)),
            },
            plan.sizes.rounds,
        )
    return [
        Row.of_rates(
            f"two workers, one core each, {len(ids)} clips",
            len(ids) / seconds["two workers"],
            "clips/s",
            "one worker on one core",
            len(ids) / seconds["one worker"],
            goal="1.9 x",
            remark=f"two bare loops against one: {seconds['one bare loop'] / seconds['two bare loops']:.2f} x",
        )
    ]
