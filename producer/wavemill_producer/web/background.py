"""The page, served by a thread of another command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from wavemill.errors import SettingsError
from wavemill.settings import Settings
from wavemill_producer.web.options import WebOptions

_STOP_S = 10.0


@contextmanager
def page_in_background(settings: Settings, *, port: int) -> Iterator[str]:
    """Serve the page to this machine during the `with` statement; yield a sentence that says where.

    If the port is taken, take a free one: several homes may be up at once.
    """
    try:
        from wavemill_producer.web.server import address_of, bind, serve
    except ImportError:
        yield "no page: install it with pip install 'wavemill[web]'"
        return
    options = WebOptions(port=port)
    try:
        listening = bind(options)
    except SettingsError:
        listening = bind(replace(options, port=0))
    stops: list[Callable[[], None]] = []
    with listening:
        thread = threading.Thread(target=serve, args=(settings, options, listening, stops.append), daemon=True)
        thread.start()
        try:
            yield f"page: {address_of(listening, options)}"
        finally:
            for stop in stops:
                stop()
            thread.join(_STOP_S)
