"""`make chaos`: thousands of jobs while workers are killed and servers lost; prints what happened and what held."""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from chaos.campaign import Campaign
from chaos.events import EVENTS
from chaos.schedule import CLOCKS, DEATHS, EVERYTHING, FAULTS, spread
from support.pgbouncer import COMMAND as PGBOUNCER
from support.postgres import migrated

from wavemill.dataset.build import build
from wavemill.presets import DEFAULT_PRESET, preset

_STORMS = ("deaths", "everything", "rendering", "faults", "pooled", "clocks", "one")
_CERTAIN = ((10.0, "flush the broker"), (20.0, "restart the database"), (30.0, "flush the broker"))
_COPIES = 10  # of the shipped clips, where they are rendered
# An outage of three leases is over in twenty seconds.
_SHORT_LEASES = {
    "WAVEMILL_LEASE_S": "6",
    "WAVEMILL_SWEEP_S": "1",
    "WAVEMILL_MESSAGE_GRACE_S": "10",
    "WAVEMILL_SILENCE_S": "8",
    "WAVEMILL_RETRY_DELAY_S": "0.5",
    "WAVEMILL_CHUNK_SIZE": "16",
}


def main() -> int:
    """Run each storm on each database; exit code 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="that of a run that failed repeats it")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--storm", choices=_STORMS[:-1], action="append")
    parser.add_argument("--event", choices=sorted(EVENTS), action="append", help="nothing but this; may be repeated")
    parser.add_argument("--gap-s", type=float, default=3.0, help="between two disasters, on average")
    parser.add_argument("--storm-s", type=float, default=90.0)
    parser.add_argument("--small", type=int, default=5_000, help="batches, where many small ones are queued")
    parser.add_argument("--history", type=Path, help="write each claim, finish and file to it; see check.py")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    logging.getLogger("wavemill_producer").setLevel(logging.ERROR)  # that a broker is gone is no news here
    if arguments.history is not None:
        arguments.history.write_text("")
    bad = 0
    for storm in ["one"] if arguments.event else arguments.storm or _STORMS[:-1]:
        for database in arguments.database or ["sqlite", "postgresql"]:
            if storm == "pooled" and (database == "sqlite" or PGBOUNCER is None):
                _say(f"--- {storm}: SKIPPED on {database}: it takes PostgreSQL, and PgBouncer (Debian: pgbouncer)")
                continue
            _say(f"--- {storm}")
            bad += _run(_campaign(storm, arguments), database)
    return 1 if bad else 0


def _campaign(storm: str, arguments: argparse.Namespace) -> Campaign:
    campaign = Campaign(
        seed=arguments.seed,
        n_jobs=arguments.jobs,
        mean_gap_s=arguments.gap_s,
        storm_s=arguments.storm_s,
        weights=DEATHS if storm == "deaths" else EVERYTHING,
        certain=_CERTAIN,
        n_small=arguments.small,
        seconds_per_job=0.03,
        timeout_s=600.0,
        history=arguments.history,
    )
    if storm == "rendering":  # TensorFlow takes longer to start than three seconds
        models = {"WAVEMILL_MODELS": str(Path("models").resolve())}
        gap_s = 5 * arguments.gap_s
        return replace(campaign, model="fsdd-vae", mean_gap_s=gap_s, per_device=1, settings=models)
    if storm == "faults":
        certain = spread(FAULTS, first_s=5.0, gap_s=15.0)
        storm_s = certain[-1][0] + 15.0
        gap_s = 2 * arguments.gap_s
        return replace(campaign, certain=certain, storm_s=storm_s, mean_gap_s=gap_s, settings=_SHORT_LEASES)
    if storm == "pooled":
        return replace(campaign, pooled=True)
    if storm == "clocks":
        certain = spread(CLOCKS, first_s=5.0, gap_s=25.0)
        return replace(campaign, clocks=True, certain=certain, weights={}, storm_s=60.0, settings=_SHORT_LEASES)
    if storm == "one":
        certain = spread(arguments.event, first_s=3.0, gap_s=15.0)
        clocks = any(name in CLOCKS for name in arguments.event)
        return replace(campaign, clocks=clocks, certain=certain, weights={}, timeout_s=120.0, settings=_SHORT_LEASES)
    return campaign


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
