"""What happens when this process lists certain folders: Python's own audit event comes before the system is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_actions: dict[str, Callable[[], object]] = {}
_hooked = False


@contextmanager
def when_listed(folder: Path, action: Callable[[], object]) -> Iterator[None]:
    """Call `action` whenever `folder` is about to be listed; what it raises is what the system answers."""
    global _hooked
    if not _hooked:  # a hook cannot be taken away again
        sys.addaudithook(_listen)
        _hooked = True
    _actions[str(folder)] = action
    try:
        yield
    finally:
        del _actions[str(folder)]


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.scandir" and (action := _actions.get(str(arguments[0]))):
        action()
