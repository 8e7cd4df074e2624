"""A TCP proxy whose connections can fall silent, as behind a firewall that forgot them or a host that lost power."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass


@dataclass(eq=False)
class _Link:
    near: asyncio.StreamWriter  # to the client
    far: asyncio.StreamWriter | None  # to the server
    silent: bool = False


class Proxy:
    """Passes bytes between its port and `target`, until it is told to fall silent: then it takes bytes and gives none.

    The server sees the end of a connection that fell silent; the client sees nothing, ever.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: set[_Link] = set()
        self._mute = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def hush(self, *, mute: bool = False) -> int:
        """Let all connections of now fall silent, and with `mute` also those to come; return how many there were."""
        return asyncio.run_coroutine_threadsafe(self._hush(mute=mute), self._loop).result(10)

    async def _hush(self, *, mute: bool) -> int:
        self._mute = mute
        spoken = [link for link in self._links if not link.silent]
        for link in spoken:
            link.silent = True
            if link.far is not None:
                link.far.close()
        return len(spoken)

    def speak(self) -> None:
        """Let new connections through again."""
        self._mute = False

    def close(self) -> None:
        """End every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        link = _Link(near=near, far=None, silent=self._mute)
        self._links.add(link)
        try:
            if link.silent:
                await _pump(reader, None, link)
                return
            far_reader, link.far = await asyncio.open_connection("127.0.0.1", self._target)
            back = asyncio.create_task(self._answer(far_reader, link))
            await _pump(reader, link.far, link)
            link.far.close()
            await back
        except OSError:
            pass  # the server is gone, or the client: either way the other is told below
        finally:
            self._links.discard(link)
            near.close()
            if link.far is not None:
                link.far.close()

    async def _answer(self, reader: asyncio.StreamReader, link: _Link) -> None:
        await _pump(reader, link.near, link)
        if not link.silent:
            link.near.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, link: _Link) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            if writer is not None and not link.silent:
                writer.write(data)
                await writer.drain()
