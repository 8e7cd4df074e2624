"""Duties beside a process's work outlive a system that has no room for a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from wavemill_worker.background import Background


@pytest.fixture
def no_room() -> Iterator[None]:
    """Let every new thread ask for more address space than there is."""
    usual = threading.stack_size(2**46)
    yield
    threading.stack_size(usual)


def test_a_thread_that_could_not_be_started_can_be_joined_and_is_started_later(no_room: None) -> None:
    done = threading.Event()
    duty = Background("the duty", lambda: None)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        duty.keep_running(done.set)
    duty.join()
    threading.stack_size(0)
    duty.keep_running(done.set)
    duty.join()
    assert done.is_set()
