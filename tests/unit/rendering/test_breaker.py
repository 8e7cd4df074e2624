from __future__ import annotations

import pytest

from wavemill.rendering.breaker import Breaker


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_it_opens_after_failures_in_a_row_and_lets_one_try_through_after_each_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    breaker = Breaker("the GPU", instead="the CPU takes over", failures=3, pause_s=60, clock=clock)
    for _ in range(2):
        assert breaker.allows()
        breaker.failed(RuntimeError("no memory"))
    breaker.worked()
    for _ in range(3):
        assert breaker.allows()
        breaker.failed(RuntimeError("no memory"))
    assert not breaker.allows()
    for _ in range(5):
        clock.now_s += 60
        assert [breaker.allows(), breaker.allows()] == [True, False]
        breaker.failed(RuntimeError("no memory"))
        assert not breaker.allows()
    (said,) = caplog.messages
    assert "the GPU failed 3 times in a row: the CPU takes over" in said
    assert "no memory" in said
    clock.now_s += 60
    assert breaker.allows()
    breaker.worked()
    assert [breaker.allows(), breaker.allows()] == [True, True]
    assert caplog.messages[1:] == ["the GPU works again"]
