"""A home with a table in it, for tests of the page's server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
from wavemill.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", models=Path(__file__).parents[3] / "models")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The home's own table."""
    settings.home.mkdir()
    database = Database(settings.sqlalchemy_url)
    upgrade(database)
    yield database
    database.close()
