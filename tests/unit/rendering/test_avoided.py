from __future__ import annotations

from wavemill.errors import StorageUnavailableError
from wavemill.rendering.avoided import AvoidedBatches


def test_an_outage_that_is_over_does_not_shorten_the_pause_of_another() -> None:
    avoided = AvoidedBatches()
    avoided.add("over", StorageUnavailableError("away"), pause_s=lambda _: 0.0)
    avoided.add("away", StorageUnavailableError("away"), pause_s=lambda _: 20.0)
    assert avoided.ids() == ["away"]
    assert 15 < avoided.pause_s <= 20
