"""A producer and a renderer without broker, Celery and processes, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavemill.dataset.index import Dataset
from wavemill.jobs.database import Database
from wavemill.operations.requests import ReconstructParams
from wavemill.rendering.renderer import Renderer
from wavemill.settings import Settings
from wavemill_producer import Batch, Producer


class Bench:
    """A producer without a broker, and a renderer that is called by hand."""

    def __init__(self, url: str, folder: Path, models: Path, dataset: Path) -> None:
        self.settings = Settings(
            home=folder / "home", database_url=url, models=models, broker_url="redis://127.0.0.1:1/0", retry_delay_s=0
        )
        self.folder, self.dataset = folder, dataset
        self.producer = Producer(self.settings)
        self.stop = threading.Event()
        self.renderer = Renderer(self.producer.database, self.settings, worker_id="bench", n_threads=2, stop=self.stop)

    def submit(self, ids: list[str] | None = None, *, model: str | Path = "small", **params: object) -> Batch:
        with Dataset.open(self.dataset) as dataset:
            chosen = ids or list(dataset.ids())
        return self.producer.reconstruct(
            chosen, dataset=self.dataset, model=model, output=self.folder / "out", params=ReconstructParams(**params)
        )

    def render(self, batch: Batch) -> None:
        self.renderer.render_chunk(batch.id, 0, 10_000)


@pytest.fixture
def bench(database: Database, tmp_path: Path, models: Path, small_dataset: Path) -> Iterator[Bench]:
    url = database.url.render_as_string(hide_password=False)
    made = Bench(url, tmp_path, models, small_dataset)
    yield made
    made.renderer.close()
    made.producer.close()
