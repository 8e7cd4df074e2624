"""`make bench`: every measurement in one table."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import warnings
from importlib.resources import files
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import inversion, pipeline


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path(str(files("wavemill") / "demo")), help="folder of WAVs")
    parser.add_argument("--model", default="fsdd-vae")
    parser.add_argument("--jobs", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pystoi, on clips with much silence
        work = Path(folder)
        common = {"model": arguments.model, "rounds": arguments.rounds}
        rows = [
            pipeline.measure_pipeline(work, arguments.clips, n_jobs=arguments.jobs, **common),
            pipeline.measure_submit(work, arguments.clips, n_ids=100_000, **common),
            pipeline.measure_help(arguments.rounds),
        ]
        print("| what | here | baseline | ratio |\n|---|---:|---:|---:|")
        for row in rows:
            here, there = f"{row.value:.2f} {row.unit}", f"{row.baseline}: {row.baseline_value:.2f} {row.unit}"
            print(f"| {row.what} | {here} | {there} | {row.ratio:.2f} |")
        wavs = sorted(arguments.clips.rglob("*.wav"))
        step = max(1, len(wavs) // 100)
        print("\n" + inversion.table(inversion.measure(wavs[::step][:100], rounds=arguments.rounds)))


if __name__ == "__main__":
    main()
