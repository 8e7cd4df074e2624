from __future__ import annotations

import pytest

from wavemill.errors import UsageError
from wavemill.vae.training.held_out import HeldOut


def test_a_rule_holds_out_those_whose_label_it_names() -> None:
    rule = HeldOut.parse("index=5,6")
    assert [{"index": i} in rule for i in "4567"] == [False, True, True, False]
    assert {"take": "5"} not in rule


def test_spaces_in_a_rule_mean_nothing() -> None:
    assert HeldOut.parse(" index = 5, 6 ") == HeldOut.parse("index=5,6")
    assert str(HeldOut.parse("index=5, 6")) == "index=5,6"


@pytest.mark.parametrize("rule", ["", "index", "index=", "=5", "index=5,,6", "index=5,"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="KEY=A,B"):
        HeldOut.parse(rule)


def test_a_rule_covers_those_that_hold_out_less_of_the_same() -> None:
    rule = HeldOut.parse("index=5,6")
    assert rule.covers(HeldOut.parse("index=6"))
    assert not rule.covers(HeldOut.parse("index=6,7"))
    assert not rule.covers(HeldOut.parse("speaker=6"))
