"""Pools of threads whose log lines carry the fields of whoever gave them the work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """A pool that runs each call with its caller's context variables."""

    def submit(self, call: Callable[..., T], /, *arguments: Any, **keywords: Any) -> Future[T]:
        """Run `call` in a thread; `map` uses this too."""
        return super().submit(copy_context().run, call, *arguments, **keywords)
