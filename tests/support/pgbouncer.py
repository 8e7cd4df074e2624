"""PgBouncer in transaction mode before a test's PostgreSQL: each transaction may meet another session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL
from support.stack import eventually

COMMAND = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(
    COMMAND is None and "CI" not in os.environ, reason="needs PgBouncer: apt-get install pgbouncer"
)


@contextmanager
def pgbouncer(server: URL, *, sessions: int) -> Iterator[str]:
    """Run one before `server`, with so many sessions for all clients; yield the URL through it."""
    # Not below pytest's folder: run as root, it has another user, who may not look in there.
    folder = Path(tempfile.mkdtemp(prefix="wavemill-pgbouncer-"))
    folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{server.database} = host={server.host} port={server.port} user={server.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {sessions}\nserver_login_retry = 1\n"
    )
    assert COMMAND is not None, "apt-get install pgbouncer"
    with (folder / "log").open("wb") as log:
        user = "nobody" if os.geteuid() == 0 else None  # it refuses to be run by root
        process = subprocess.Popen([COMMAND, configuration], user=user, stdout=log, stderr=log)
    through = server.set(port=port)
    try:
        eventually(lambda: _answers(through), timeout_s=30, what="an answer of PgBouncer")
        yield through.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: URL) -> bool:
    try:
        psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)).close()
    except psycopg.OperationalError:
        return False
    return True
