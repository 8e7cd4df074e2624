"""Runs the application under uvicorn, with limits for slow clients."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from wavemill.errors import SettingsError
from wavemill.jobs.database import Database
from wavemill.jobs.tokens import living_tokens
from wavemill.settings import Settings
from wavemill_producer.web.app import create_app
from wavemill_producer.web.options import WebOptions

_HEAD_S = 20.0  # a request's line and headers must come in this long
_MOST_CONNECTIONS = 4_000
_OTHER_FILES = 200  # of the table, of sounds, of exports: connections leave room for them
_FEWEST_CONNECTIONS = 20
_BACKLOG = 512  # connections that the system holds until they are accepted
_ACCEPTED_AT_ONCE = 16  # asyncio accepts so many before it looks at any of them
_REFUSED_CONNECTIONS = 20  # beyond the most: they are told to come back; others are closed at once
_STOP_S = 3  # open answers have this long to end when the server stops


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which also closes connections whose next request does not come."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request; send each answer at once.

        asyncio sets TCP_NODELAY only on sockets made for TCP by name, and `socket.create_server` makes others:
        answers on a kept connection would wait 40 ms for the client's delayed acknowledgement.
        """
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        if len(self.connections) > (self.config.limit_concurrency or _MOST_CONNECTIONS) + _REFUSED_CONNECTIONS:
            transport.close()
            return
        self._wait_for_head()

    def handle_events(self) -> None:
        """Stop waiting when a request's headers are complete; begin again after its answer."""
        super().handle_events()
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._cancel()

    def on_response_complete(self) -> None:
        """Close the connection if the request's body, which nobody reads any more, is still coming."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_S, self._give_up)

    def _cancel(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _room_for_connections() -> int:
    """Allow this process as many open files as it needs, if it may; return how many of them may be connections.

    Where all files are open, no connection is accepted, and asyncio tries again and again.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _REFUSED_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = wanted if soft == resource.RLIM_INFINITY else soft
    return max(_FEWEST_CONNECTIONS, min(left - _REFUSED_CONNECTIONS - _OTHER_FILES, _MOST_CONNECTIONS))


def require_safe(database: Database, options: WebOptions) -> None:
    """Refuse to listen beyond this machine while there is no token; SettingsError says what to do."""
    holders, _ = living_tokens(database)
    if not options.needs_no_token and not holders:
        how = f"--root-path {options.root_path}" if options.root_path else f"--host {options.host}"
        raise SettingsError(
            f"{how} lets other machines in, and there is no token that they would need: "
            "make one with `wavemill token create NAME --role admin`, or listen on 127.0.0.1 alone"
        )


def bind(options: WebOptions) -> socket.socket:
    """Return a listening socket; SettingsError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host.strip("[]"), options.port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise SettingsError(
            f"cannot listen on {options.host} port {options.port}: {exc.strerror or exc}; choose another with --port"
        ) from exc


def address_of(listening: socket.socket, options: WebOptions) -> str:
    """Return the URL under which this machine's browser finds the page."""
    bare = options.host.strip("[]")
    host = f"[{bare}]" if ":" in bare else bare
    return f"http://{host}:{listening.getsockname()[1]}{options.root_path}/"


class _Server(uvicorn.Server):
    """uvicorn's server, but the command handles signals, and listeners to events are told to go at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; then let the system hold more new connections than asyncio accepts at once."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of events, which would never end by themselves; then stop."""
        await cast("Any", self.config.app).state.feed.close()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    options: WebOptions,
    listening: socket.socket,
    on_end: Callable[[Callable[[], None]], None],
) -> None:
    """Answer requests until the server is told to stop; `on_end` is called with the function that stops it."""
    config = uvicorn.Config(
        create_app(settings, options),
        http=cast("Any", PunctualProtocol),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_ACCEPTED_AT_ONCE,
        limit_concurrency=_room_for_connections(),
        timeout_graceful_shutdown=_STOP_S,
        lifespan="on",
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True

    on_end(stop)
    server.run(sockets=[listening])
