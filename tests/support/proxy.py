"""A TCP proxy that falls silent: each side still gets its packets acknowledged, but nothing arrives any more.

So look a firewall that forgot a connection, a load balancer whose target is gone, a host without power behind a router.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes between its own loopback `port` and a server's, until it is told not to."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._open: list[_Link] = []
        self._new_are_silent = False
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    def silence(
        self, *, old: bool = True, new: bool = False, towards_server: bool = True, end_at_server: bool = True
    ) -> int:
        """Swallow what comes on connections that are open, on those that come, or on both; return how many now are.

        With `end_at_server` the server sees the end of the open ones; otherwise neither side notices anything. Without
        `towards_server`, what the open ones say still arrives, and only the answers do not.
        """
        with self._lock:
            self._new_are_silent = new
            chosen = [link for link in self._open if old and link.passes]
            for link in chosen:
                link.is_silent, link.hears = True, not towards_server
                if end_at_server:
                    link.end_at_server()
        return len(chosen)

    def speak(self) -> None:
        """Pass on what comes on new connections; those that are silent stay so."""
        with self._lock:
            self._new_are_silent = False

    def close(self) -> None:
        """Stop listening, and end every connection."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the waiting in accept(), which close() alone does not
        self._accepting.join()
        self._listening.close()
        for link in self._open:
            link.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                link = _Link(client, server, is_silent=self._new_are_silent)
                self._open.append(link)


class _Link:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket, *, is_silent: bool) -> None:
        self.is_silent, self.hears = is_silent, False
        self._client, self._server = client, server
        ways = ((client, server), (server, client))
        self._pumps = [threading.Thread(target=self._pump, args=way, daemon=True) for way in ways]
        for pump in self._pumps:
            pump.start()

    @property
    def passes(self) -> bool:
        return not self.is_silent and all(pump.is_alive() for pump in self._pumps)

    def end_at_server(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.end()
        for pump in self._pumps:
            pump.join()
        self._client.close()
        self._server.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self.is_silent or (self.hears and sink is self._server):
                    sink.sendall(data)
        if not self.is_silent:  # otherwise the end is swallowed too
            self.end()
