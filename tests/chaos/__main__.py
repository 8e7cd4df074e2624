"""`make chaos`: thousands of jobs while workers are killed and servers lost; prints what happened and what held."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from chaos.campaign import Campaign
from chaos.schedule import DEATHS, EVERYTHING
from support.postgres import migrated

from wavemill.dataset.build import build
from wavemill.presets import DEFAULT_PRESET, preset

_STORMS = {"deaths": DEATHS, "everything": EVERYTHING, "rendering": EVERYTHING}
_CERTAIN = ((10.0, "flush the broker"), (20.0, "restart the database"), (30.0, "flush the broker"))
_COPIES = 10  # of the shipped clips, where they are rendered


def main() -> int:
    """Run each storm on each database; exit code 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="that of a run that failed repeats it")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--storm", choices=list(_STORMS), action="append")
    parser.add_argument("--gap-s", type=float, default=3.0, help="between two disasters, on average")
    parser.add_argument("--storm-s", type=float, default=90.0)
    arguments = parser.parse_args()
    bad = 0
    for storm in arguments.storm or list(_STORMS):
        campaign = Campaign(
            seed=arguments.seed,
            n_jobs=arguments.jobs,
            mean_gap_s=arguments.gap_s,
            storm_s=arguments.storm_s,
            weights=_STORMS[storm],
            certain=_CERTAIN,
            seconds_per_job=0.03,
            timeout_s=600.0,
        )
        if storm == "rendering":  # TensorFlow takes longer to start than three seconds
            campaign = replace(
                campaign,
                model="fsdd-vae",
                mean_gap_s=5 * arguments.gap_s,
                per_device=1,
                settings={"WAVEMILL_MODELS": str(Path("models").resolve())},
            )
        for database in arguments.database or ["sqlite", "postgresql"]:
            print(f"--- {storm}", flush=True)  # noqa: T201
            bad += _run(campaign, database)
    return 1 if bad else 0


def _run(campaign: Campaign, database: str) -> int:
    with tempfile.TemporaryDirectory(prefix="wavemill-chaos-") as name:
        folder = Path(name)
        dataset = _dataset(folder, copies=_COPIES if campaign.model else 1)
        postgres = migrated() if database == "postgresql" else None
        try:
            findings = campaign.run(folder, dataset, postgres=postgres, say=_say)
        finally:
            if postgres is not None:
                postgres.close()
    return len(findings.violations)


def _dataset(folder: Path, *, copies: int) -> Path:
    """Build a dataset of the shipped clips, so many times, and one that kills whoever opens it."""
    clips = sorted(Path(str(files("wavemill") / "demo")).glob("*.wav"))
    for k in range(copies):
        (folder / f"clips/{k}").mkdir(parents=True)
        for clip in clips:
            shutil.copy(clip, folder / f"clips/{k}")
    shutil.copy(clips[0], folder / "clips/poison.wav")
    build(folder / "clips", folder / "dataset", preset(DEFAULT_PRESET), jobs=1)
    return folder / "dataset"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
