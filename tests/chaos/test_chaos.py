"""The short form of `make chaos`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.campaign import Campaign
from chaos.schedule import EVERYTHING, SHORT
from support.pgbouncer import needs_pgbouncer
from support.postgres import Postgres, migrated
from support.stack import QUICK

SEED = 20_26
# A sweep that has messages to send again would wait behind a lock, and so never meet a lease that ended meanwhile.
SETTINGS = {**QUICK, "WAVEMILL_CHUNK_SIZE": "8", "WAVEMILL_MESSAGE_GRACE_S": "4", "WAVEMILL_SILENCE_S": "5"}


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = migrated()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def postgres(request: pytest.FixtureRequest) -> Postgres | None:
    return None if request.param == "sqlite" else request.getfixturevalue("server")


@pytest.mark.timeout(600)
def test_every_promise_holds_whatever_happens(tmp_path: Path, small_dataset: Path, postgres: Postgres | None) -> None:
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    campaign = Campaign(
        seed=SEED,
        n_jobs=600,
        n_killers=40,
        lock_s=0.0,
        mean_gap_s=4.0,
        storm_s=SHORT[-1][0] + 1.0,
        weights=EVERYTHING,
        certain=SHORT,
        settings=SETTINGS,
        timeout_s=180.0,
    )
    assert not campaign.run(tmp_path, dataset, postgres=postgres, say=print).violations


@needs_pgbouncer
def test_every_promise_holds_behind_a_pooler_of_transactions(
    tmp_path: Path, small_dataset: Path, server: Postgres
) -> None:
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    campaign = Campaign(
        seed=SEED,
        n_jobs=500,
        mean_gap_s=1.5,
        storm_s=10.0,
        weights=EVERYTHING,
        certain=[(4.0, "restart the database"), (7.0, "flush the broker")],
        pooled=True,
        # A pooler answers only after its own retry, so a worker learns later than without it that the table is back.
        settings={**SETTINGS, "WAVEMILL_LEASE_S": "6"},
    )
    assert not campaign.run(tmp_path, dataset, postgres=server, say=print).violations
