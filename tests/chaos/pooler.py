"""PgBouncer before a PostgreSQL server, in transaction mode: no session outlives a transaction."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_SETTINGS = """
[databases]
postgres = host=127.0.0.1 port={target} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
server_login_retry = 1
logfile = {folder}/log
pidfile =
"""
_START_S = 20.0


def find_pgbouncer() -> str | None:
    """Return where the program is; Debian keeps it where a bare PATH does not look."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


class Pooler:
    """Runs until `close`; `port` takes clients."""

    def __init__(self, target: int) -> None:
        program = find_pgbouncer()
        assert program is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # Not below pytest's folder: PgBouncer does not run as root, and another user may not look in there.
        self._folder = Path(tempfile.mkdtemp(prefix="wavemill-pgbouncer-"))
        self._folder.chmod(0o777)
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(target=target, port=self.port, folder=self._folder))
        user = "nobody" if os.geteuid() == 0 else None
        self._process = subprocess.Popen([program, "-q", str(settings)], user=user, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)
