"""The short form of `make chaos`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.campaign import Campaign
from chaos.schedule import EVERYTHING
from support.postgres import Postgres, migrated
from support.stack import QUICK

SEED = 20_26


@pytest.fixture(params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres | None]:
    if request.param == "sqlite":
        yield None
        return
    server = migrated()
    yield server
    server.close()


def test_every_promise_holds_while_workers_die_and_servers_are_lost(
    tmp_path: Path, small_dataset: Path, postgres: Postgres | None
) -> None:
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    certain = [(4.0, "flush the broker"), (6.0, "restart the database"), (10.0, "restart the broker")]
    campaign = Campaign(
        seed=SEED, n_jobs=1_000, mean_gap_s=1.5, storm_s=15.0, weights=EVERYTHING, certain=certain, settings=QUICK
    )
    assert not campaign.run(tmp_path, dataset, postgres=postgres, say=print).violations
