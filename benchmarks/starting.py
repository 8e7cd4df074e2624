"""From starting a worker to its first job, and what of it is TensorFlow; and how soon the command line answers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.plan import Plan
from benchmarks.progress import tell
from benchmarks.rounds import medians_s, process
from benchmarks.row import Row
from benchmarks.services import POLL_S, finish, workers

# As a worker's child does it, one step after the other.
_SPLIT = """
import json, sys, time
started = time.perf_counter()
steps = {}
def step(name):
    global started
    steps[name], started = time.perf_counter() - started, time.perf_counter()
from wavemill_worker import devices
devices.configure_tensorflow(int(sys.argv[2]))
step("import TensorFlow")
import wavemill.rendering.renderer
step("import the rest")
from wavemill.vae.package import load_model
model = load_model(sys.argv[1])
step("load the model")
model.warm_up()
step("compile")
print(json.dumps(steps))
"""


def measure(plan: Plan) -> list[Row]:
    """Seconds of each, whole processes."""
    return [_worker(plan), *_help(plan)]


def _worker(plan: Plan) -> Row:
    dataset = plan.dataset(4)
    totals, splits = [], []
    for number in range(plan.sizes.starts):
        started = time.perf_counter()
        with workers(plan.settings(f"start-{number}"), count=1) as producer:
            batch = producer.reconstruct(
                ["set-0/" + plan.recordings[0].stem], dataset=dataset, model=plan.model, output=plan.work / "out"
            )
            finish(batch, poll_s=POLL_S)
            totals.append(time.perf_counter() - started)
        splits.append(_split(plan))
        tell(f"start {number + 1} of {plan.sizes.starts}: {totals[-1]:.2f} s")
    steps = {name: statistics.median(split[name] for split in splits) for name in splits[0]}
    total_s = statistics.median(totals)
    return Row.of_times(
        "worker start to first job done, with broker and table",
        total_s,
        "importing TensorFlow",
        steps.pop("import TensorFlow"),
        goal="mostly the import",
        remark=", ".join(f"{name} {seconds:.2f} s" for name, seconds in steps.items()),
    )


def _split(plan: Plan) -> dict[str, float]:
    command = [sys.executable, "-c", _SPLIT, str(plan.models_dir / plan.model), str(len(os.sched_getaffinity(0)))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _help(plan: Plan) -> list[Row]:
    python = [sys.executable, "-c"]
    runs = {
        "--help": process([sys.executable, "-m", "wavemill_producer.cli.main", "--help"], os.environ),
        "click": process([*python, "import click"], os.environ),
    }
    seconds = medians_s(runs, plan.sizes.rounds * 2)
    return [
        Row.of_times(
            "wavemill --help", seconds["--help"], "Python that imports click", seconds["click"], goal="under 300 ms"
        )
    ]
