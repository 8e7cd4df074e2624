"""`make bench`: every measurement in one table, each a ratio against a named baseline of the same run.

Takes a quarter of an hour on two cores; `python -m benchmarks inversion pipeline` runs only those parts.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import traceback
import warnings
from dataclasses import asdict, replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import machine, results
from benchmarks.plan import Plan, Sizes
from benchmarks.progress import tell
from benchmarks.row import Row

# Name -> module; the order of the table.
PARTS = {
    "inversion": "sound",
    "reading": "reading",
    "forward": "forward",
    "pipeline": "pipeline",
    "workers": "scaling",
    "start": "starting",
    "submit": "submitting",
    "table": "table",
    "floor": "floor",
}


def main() -> int:
    """Measure and print; 1 when a part failed."""
    arguments = _arguments()
    described = machine.describe()
    rows, failed = [], []
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder, warnings.catch_warnings():
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")  # pystoi, on clips with much silence; Keras, on its own ways
        plan = _plan(arguments, Path(folder))
        described["material"] = f"{len(plan.recordings)} recordings, model {plan.model}"
        described["sizes"] = ", ".join(f"{name} {number:,}" for name, number in asdict(plan.sizes).items())
        for part in arguments.parts or PARTS:
            tell(f"part {part}")
            found = _measured(part, plan)
            rows += found or []
            failed += [part] if found is None else []
    print(results.report(described, rows))
    if arguments.keep:
        print(
            f"kept as {results.keep(arguments.results, described, rows, parts=arguments.parts).name}", file=sys.stderr
        )
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measured(part: str, plan: Plan) -> list[Row] | None:
    try:
        return import_module(f"benchmarks.{PARTS[part]}").measure(plan)
    except Exception:  # a quarter of an hour's figures are not thrown away for one of them
        traceback.print_exc()
        return None


def _plan(arguments: argparse.Namespace, work: Path) -> Plan:
    recordings = sorted(arguments.clips.rglob(arguments.pattern))
    if not recordings:
        sys.exit(f"there is no {arguments.pattern} under {arguments.clips}")
    wished = {name: value for name in ("rounds", "jobs") if (value := getattr(arguments, name))}
    return Plan(
        work=work,
        recordings=recordings,
        model=arguments.model,
        models_dir=arguments.models.resolve(),
        sizes=replace(Sizes.small() if arguments.small else Sizes(), **wished),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    shipped = Path(str(files("wavemill") / "demo"))
    parser.add_argument("--clips", type=Path, default=shipped, help="folder of recordings; the shipped ones by default")
    parser.add_argument("--pattern", default="*.wav", help="which of them, such as '*_[5-9].wav'")
    parser.add_argument("--model", default="fsdd-vae")
    parser.add_argument("--models", type=Path, default=machine.REPOSITORY / "models", help="folder of models")
    parser.add_argument("--rounds", type=int, help=f"of which the median counts; {Sizes.rounds} by default")
    parser.add_argument("--jobs", type=int, help=f"through the queue in a round; {Sizes.jobs} by default")
    parser.add_argument("--small", action="store_true", help="see only that everything runs")
    parser.add_argument("--keep", action="store_true", help="keep the table in the folder of --results")
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from: {', '.join(PARTS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
