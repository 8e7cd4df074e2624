"""What ratings say about a batch, on both databases and through the command."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from scipy.stats import spearmanr
from sqlalchemy import update
from support.batches import job_rows, submit

from wavemill.jobs.database import Database
from wavemill.jobs.rating_figures import rating_figures
from wavemill.jobs.ratings import rate
from wavemill.jobs.schema import jobs
from wavemill.settings import Settings
from wavemill_producer import Producer
from wavemill_producer.cli.main import run


@pytest.fixture
def producer(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Producer]:
    monkeypatch.setenv("WAVEMILL_DATABASE_URL", database_url)
    with Producer(Settings.from_env()) as producer:
        yield producer


def test_ratings_are_summed_up_with_the_quality_that_they_were_given_for(
    producer: Producer, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = producer.batch(submit(database, 6))
    rows = job_rows(database, batch.id)
    with database.transaction() as connection:
        for row, distance_db in zip(rows, (2.0, 4.0, 3.0, 8.0, 9.0, 1.0), strict=True):
            quality = {"log_spectral_distance_db": distance_db, "peak": 0.5}
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(quality=quality))
    for row, rating in zip(rows, (5, 5, 4, 1, 1), strict=False):
        rate(database, [row.id], rating)
    figures = batch.rating_figures()
    assert (figures["rated"], figures["mean"]) == (5, 3.2)
    assert figures["mean_within"] == pytest.approx(1.96 * 2.049 / 5**0.5, abs=1e-3)
    assert figures["by_rating"]["5"] == {"jobs": 2, "log_spectral_distance_db": 3.0, "peak": 0.5}
    assert figures["by_rating"]["2"] == {"jobs": 0}
    assert list(figures["rank_correlation"]) == ["log_spectral_distance_db"], "all peaks are the same"
    assert batch.rating_figures(where=["log_spectral_distance_db<5"])["mean"] == pytest.approx(14 / 3)
    assert run(["ratings", batch.id]) == 0
    said = capsys.readouterr().out
    assert "5 rated jobs, mean 3.20 ± 1.80" in said
    assert "correlation" in said


def test_a_batch_that_nobody_rated_says_how_to(
    producer: Producer, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = submit(database, 1)
    assert run(["ratings", batch_id]) == 0
    assert "0 rated jobs; rate them on the page" in capsys.readouterr().out


def test_the_rank_correlation_is_spearmans() -> None:
    draw = random.Random(1)
    rated = [(draw.randint(1, 5), {"peak": draw.choice([0.1, 0.2, draw.random()])}) for _ in range(200)]
    expected = spearmanr([rating for rating, _ in rated], [quality["peak"] for _, quality in rated]).statistic
    assert rating_figures(rated)["rank_correlation"]["peak"] == pytest.approx(expected, abs=1e-12)
