"""A producer on either database, with no broker to send anything to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wavemill.jobs.database import Database
from wavemill.settings import Settings
from wavemill_producer import Producer


@pytest.fixture
def producer(database: Database, database_url: str) -> Iterator[Producer]:
    with Producer(Settings(database_url=database_url, broker_url="redis://127.0.0.1:1/0")) as producer:
        yield producer
