"""More connections than the server may hold: the others are closed, and it goes on answering."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

SERVER = """
import resource, sys
from pathlib import Path
from wavemill.jobs.database import Database
from wavemill.jobs.migrate import upgrade
from wavemill.settings import Settings
from wavemill_producer.web.options import WebOptions
from wavemill_producer.web.server import bind, serve

resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[2])))
settings = Settings(home=Path(sys.argv[1]))
upgrade(Database(settings.sqlalchemy_url))
listening = bind(WebOptions(port=0))
print(listening.getsockname()[1], flush=True)
serve(settings, WebOptions(), listening, lambda stop: None)
"""


def answers(tmp_path: Path, *, most_files: int, n_idle: int) -> list[int]:
    """Return a server's statuses beside idle connections, and after them."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), str(most_files)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())
        url = f"http://127.0.0.1:{port}/api/v1/batches"
        assert httpx.get(url, timeout=30).status_code == 200
        with ExitStack() as idle:
            for _ in range(n_idle):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            try:
                beside = httpx.get(url, timeout=10).status_code
            except httpx.TransportError:  # closed at once
                beside = 503
        return [beside, httpx.get(url, timeout=30).status_code]
    finally:
        process.kill()
        assert "out of system resource" not in process.communicate()[1]


def test_the_server_takes_as_many_connections_as_it_may_have_files(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert answers(tmp_path, most_files=hard, n_idle=300) == [200, 200]


def test_connections_beyond_the_open_files_that_a_process_may_have_are_closed(tmp_path: Path) -> None:
    assert answers(tmp_path, most_files=256, n_idle=300) == [503, 200]
