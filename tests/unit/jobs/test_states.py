from __future__ import annotations

import pytest

from wavemill.jobs.states import FINAL, MOVES, BatchState, State, batch_state


@pytest.mark.parametrize(
    ("counts", "paused", "cancelled", "expected"),
    [
        ({"queued": 3}, False, False, "queued"),
        ({"queued": 3}, True, False, "paused"),
        ({"queued": 3, "done": 1}, False, False, "running"),
        ({"running": 1}, False, False, "running"),
        ({"running": 1, "cancelled": 2}, True, True, "running"),
        ({"done": 3}, True, True, "done"),
        ({"done": 3, "failed": 1}, False, False, "failed"),
        ({"done": 3, "cancelled": 1}, False, True, "cancelled"),
        ({"failed": 3, "cancelled": 1}, False, True, "failed"),
    ],
)
def test_a_batchs_state_follows_from_its_counts(
    counts: dict[str, int], paused: bool, cancelled: bool, expected: str
) -> None:
    every = {state: counts.get(state.value, 0) for state in State}
    assert batch_state(every, paused=paused, cancelled=cancelled) == BatchState(expected)


def test_done_is_for_ever_and_every_other_state_has_a_way_to_it() -> None:
    assert MOVES[State.DONE] == frozenset()
    assert set(MOVES) == set(State)
    reached, todo = {State.DONE}, [State.DONE]
    while todo:
        goal = todo.pop()
        before = [state for state in State if goal in MOVES[state] and state not in reached]
        reached.update(before)
        todo += before
    assert reached == set(State)
    assert all(MOVES[state] <= {State.QUEUED} for state in FINAL)
