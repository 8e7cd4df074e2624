"""The embedded broker: a Valkey server from a wheel, private to the user, with its data in home.

The process that holds a home's lock file runs its broker. It starts the server again if that died,
and takes over a server whose `up` was killed. The kernel releases the lock when the process ends,
however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavemill.errors import BrokerUnavailableError
from wavemill.settings import Settings
from wavemill.text.secrets_in_urls import without_secrets
from wavemill_producer import server_files
from wavemill_producer.valkey import ValkeyProcess

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 30.0
_POLL_S = 0.1
_RETRY_S = 5.0


class EmbeddedBroker:
    """The broker of one home. Does nothing if `WAVEMILL_BROKER_URL` names another broker."""

    def __init__(self, settings: Settings) -> None:
        self._is_wanted = not settings.broker_url
        self._url = settings.broker_url
        self._folder = settings.home.resolve() / "valkey"
        self._socket = settings.valkey_socket
        self._lock: int | None = None
        self._try_at = 0.0
        self._server: ValkeyProcess | None = None  # None if another process started it

    @property
    def where(self) -> str:
        """Where the broker is, as text for people."""
        if not self._is_wanted:
            return f"broker: {without_secrets(self._url)} (WAVEMILL_BROKER_URL)"
        return f"broker: embedded Valkey at {self._socket}" + ("" if self._lock else ", run by another process")

    def tend(self) -> bool:
        """Start the server if no process runs it; return whether it was started."""
        if not self._is_wanted or not self._holds_lock() or answers(self._socket):
            return False
        self._start()
        return True

    def keep(self) -> bool:
        """Like `tend`, but if the server cannot be started, log that once and try again later.

        Call it again and again for as long as the process runs.
        """
        if time.monotonic() < self._try_at:
            return False
        try:
            started = self.tend()
        except BrokerUnavailableError as exc:
            if not self._try_at:
                logger.warning("%s; trying again every few seconds, and jobs wait in the table", exc)
            self._try_at = time.monotonic() + _RETRY_S
            return False
        self._try_at = 0.0
        return started

    def await_start(self) -> None:
        """Wait until a server answers: this process's, or that of a faster process."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        self.tend()
        while self._is_wanted and not answers(self._socket):
            if time.monotonic() > deadline:
                raise BrokerUnavailableError(
                    f"another process holds {self._folder / 'lock'}, but no broker answers at {self._socket}; "
                    "end that process first"
                )
            time.sleep(_POLL_S)  # only polling shows that another process's server is up
            self.tend()

    def close(self) -> None:
        """Stop the server if this process holds the lock, even if another process started it."""
        if self._lock is None:
            return
        if self._server is not None:
            self._server.stop()
        elif answers(self._socket):
            from redis import Redis

            Redis(unix_socket_path=str(self._socket)).shutdown()
        os.close(self._lock)
        self._lock = None

    def _holds_lock(self) -> bool:
        if self._lock is not None:
            return True
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.mkdir(exist_ok=True, mode=0o700)
            lock = os.open(self._folder / server_files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _not_started(exc) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        """Start the server. If it cannot read its data files, set them aside and start it empty."""
        try:
            _make_private(self._socket.parent)
            self._server = self._started()
        except (RuntimeError, OSError) as exc:
            if not server_files.has_data(self._folder):
                raise _not_started(exc) from exc
            self._start_empty(exc)

    def _start_empty(self, cause: Exception) -> None:
        try:
            moved = server_files.set_aside(self._folder)
        except OSError as exc:
            raise _not_started(exc) from cause
        try:
            self._server = self._started()
        except (RuntimeError, OSError) as exc:
            server_files.put_back(self._folder, moved)  # the files were not the cause
            raise _not_started(exc) from exc
        server_files.prune(self._folder)
        logger.warning(
            "the embedded broker could not read its files: they were set aside in %s, the broker was started empty, "
            "and every message is sent again from the table",
            self._folder / "damaged-*",
        )

    def _started(self) -> ValkeyProcess:
        return ValkeyProcess(self._folder, self._socket, timeout_s=_START_TIMEOUT_S)


def _not_started(exc: Exception) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"the embedded broker did not start: {exc}")


def _make_private(folder: Path) -> None:
    """Make a folder for this user alone. Refuse another user's, which anybody may make in /tmp."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"expected {folder} to be writable by this user alone; remove it, or set WAVEMILL_HOME")


@contextmanager
def embedded_broker(settings: Settings) -> Iterator[EmbeddedBroker]:
    """Run the embedded Valkey during the `with` statement, unless another process already does."""
    broker = EmbeddedBroker(settings)
    try:
        broker.await_start()
        yield broker
    finally:
        broker.close()


def answers(socket_path: Path) -> bool:
    """Whether a server listens there, even if it is too busy to accept a connection within 1 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True
